"""Decoded images in a file, as far as there is room; the rows that are not in it are decoded again by a stream."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.files import reserve_bytes
from foldpack.predict.page_stream import PIXEL_BYTES, PageStream
from foldpack.predict.room import make_own_folder


class CanvasError(FoldpackError):
    """Decoded images cannot be read back, or were not decoded in time."""


class CanvasFile:
    """(n, size, size, 3) uint8; slices are read, rows are written. Safe in several threads and processes.

    The file has a byte for each row that it has room for, 1 once the row is written, and then the pixels. A row that
    is not there, because it found no room or writing it failed, comes from the stream.
    """

    def __init__(self, path: Path, pages: PageStream, rows: int) -> None:
        """rows: so many, from the first on, have room in the file."""
        self.path = path
        self.pages = pages
        self.rows = rows
        self._handle: int | None = None

    def create(self) -> None:
        """Make the file and reserve its room, readable by its owner only. Raises OSError, leaving no file."""
        make_own_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            reserve_bytes(handle, self.rows * (1 + self.pages.kind.row_bytes))
        except OSError:
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
            raise
        finally:
            os.close(handle)

    def handle(self) -> int:
        """The open file of this process."""
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR)
        return self._handle

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None}  # a worker opens the file for itself

    def __len__(self) -> int:
        return len(self.pages)

    def __setitem__(self, row: int, pixels: np.ndarray) -> None:
        data = np.ascontiguousarray(pixels, dtype=np.uint8)
        if os.pwrite(self.handle(), data.data, self._place(row)) != self.pages.kind.row_bytes:
            raise OSError(28, "no space left for decoded images", str(self.path))
        os.pwrite(self.handle(), b"\1", row)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        there = self._there(start, stop)
        shape = (max(0, stop - start), self.pages.kind.size, self.pages.kind.size, PIXEL_BYTES)
        if there.all():
            return np.frombuffer(self._read(start, stop), dtype=np.uint8).reshape(shape)
        pixels = np.empty(shape, dtype=np.uint8)
        for first, end in _stretches(there):
            if there[first]:
                pixels[first:end] = np.frombuffer(self._read(start + first, start + end),
                                                  dtype=np.uint8).reshape(-1, *shape[1:])
            else:
                for row in range(first, end):
                    pixels[row] = self.pages.row(start + row)
        return pixels

    def expect(self, start: int, stop: int) -> None:
        """These rows will be asked for next, in order: those that are not in the file are decoded ahead."""
        stop = min(stop, len(self))
        self.pages.expect_rows([start + int(row) for row in np.flatnonzero(~self._there(start, stop))])

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """Rows that came from the stream and have no pixels."""
        return self.pages.lost_rows(start, stop)

    def close(self) -> None:
        """Remove the file, and its folder if nothing else is in it."""
        self.pages.close()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def _place(self, row: int) -> int:
        return self.rows + row * self.pages.kind.row_bytes

    def _there(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) bool: whether the file has these rows."""
        flags = np.zeros(max(0, stop - start), dtype=bool)
        inside = max(0, min(stop, self.rows) - start)
        found = os.pread(self.handle(), inside, start) if inside else b""
        flags[: len(found)] = np.frombuffer(found, dtype=np.uint8) == 1
        return flags

    def _read(self, start: int, stop: int) -> bytearray:
        data = bytearray(self.pages.kind.row_bytes * max(0, stop - start))
        done = 0
        while done < len(data):
            got = os.preadv(self.handle(), [memoryview(data)[done:]], self._place(start) + done)
            if not got:
                raise CanvasError(f"{self.path}: the file of decoded images ends too early; was it changed?")
            done += got
        return data


def _stretches(there: np.ndarray) -> Sequence[tuple[int, int]]:
    """Where flags of one value begin and end."""
    edges = [0, *(np.flatnonzero(np.diff(there)) + 1).tolist(), len(there)]
    return list(zip(edges[:-1], edges[1:], strict=True))


Pixels = np.ndarray | CanvasFile | PageStream
