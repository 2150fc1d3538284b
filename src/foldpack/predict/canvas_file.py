"""Decoded images in a file, as far as there is room; the rows that are not in it are decoded again by a stream."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldpack.data.geometry import image_frames, place_image
from foldpack.errors import FoldpackError
from foldpack.files import reserve_bytes
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import gather_canvases
from foldpack.predict.room import make_own_folder


class CanvasError(FoldpackError):
    """Decoded images cannot be read back, or were not decoded in time."""


# Of a row: where its canvas begins, the height and width of its own file (0: it has no pixels), its largest value as
# `Decoded` has it, and whether it was repaired.
PLACE = np.dtype([("at", np.int64), ("size", np.int32, 2), ("largest", np.int32), ("repaired", np.int32)])


class CanvasFile:
    """Canvases of all rows, in the order in which they came, as far as there is room. Safe in several threads.

    One process puts rows in, several take them. The file has a `PLACE` for each row, all 0 until the row is there, and
    then the pixels: what shape they have follows from the size of the image's own file. A row that is not there comes
    from the stream.
    """

    def __init__(self, path: Path, pages: PageStream, rows: int) -> None:
        """rows: for so many there is room, whatever their shape; of a kind whose canvases vary there may be more."""
        self.path = path
        self.pages = pages
        self.kind = pages.kind
        self.end = len(pages) * PLACE.itemsize + rows * self.kind.most_bytes
        self._free = len(pages) * PLACE.itemsize
        self._put: set[int] = set()
        self._handle: int | None = None
        self._lock: threading.Lock | None = threading.Lock()

    def create(self) -> None:
        """Make the file and reserve its room, readable by its owner only. Raises OSError, leaving no file."""
        make_own_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            reserve_bytes(handle, self.end)
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
        return {**self.__dict__, "_handle": None, "_lock": None, "_put": set()}  # a worker opens the file for itself

    def __len__(self) -> int:
        return len(self.pages)

    def put(self, row: int, canvas: np.ndarray, size: tuple[int, int], note: tuple[int, bool] = (-1, False)) -> bool:
        """Keep a row; False where there is no room for it. Raises OSError where the disk is full before it should be.

        size: height and width of the image's file, 0 for a black canvas. note: its largest value, as `Decoded` has it,
        and whether it was repaired. A row is kept once, and its place is written when its pixels are.
        """
        assert self._lock is not None, "only the process that made the file puts rows in"
        data = np.ascontiguousarray(canvas, dtype=np.uint8)
        with self._lock:
            if row in self._put or self._free + data.nbytes > self.end:
                return row in self._put
            at, self._free = self._free, self._free + data.nbytes
            self._put.add(row)
        if os.pwrite(self.handle(), data.data, at) != data.nbytes:
            raise OSError(28, "no space left for decoded images", str(self.path))
        place = np.array([(at, size, *note)], dtype=PLACE)
        os.pwrite(self.handle(), place.tobytes(), row * PLACE.itemsize)
        return True

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """`PixelSource.take`."""
        places = self._places(start, stop)
        return gather_canvases(self.kind, len(places), (self._read(place) if place["at"] else self.pages.row(row)
                                                        for row, place in enumerate(places, start)))

    def row(self, row: int) -> np.ndarray:
        """(H, W, C) of one row."""
        [place] = self._places(row, row + 1)
        return self._read(place) if place["at"] else self.pages.row(row)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        places = self._places(start, stop)
        here = image_frames(self.kind, places["size"])
        return np.where((places["at"] > 0)[:, None], here, self.pages.frames(start, stop))

    def expect(self, start: int, stop: int) -> None:
        """These rows will be asked for next, in order: those that are not in the file are decoded ahead."""
        stop = min(stop, len(self))
        self.pages.expect_rows([start + int(row) for row in np.flatnonzero(self._places(start, stop)["at"] == 0)])

    def expect_rows(self, rows: Sequence[int]) -> None:
        """The same for rows that do not follow each other. rows: ascending."""
        there = self._places(0, len(self))["at"]
        self.pages.expect_rows([row for row in rows if not there[row]])

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """Rows that came from the stream and have no pixels."""
        return self.pages.lost_rows(start, stop)

    def close(self) -> None:
        """Remove the file, and its folder if nothing else is in it."""
        self.pages.close()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def _places(self, start: int, stop: int) -> np.ndarray:
        """(k,) `PLACE` of rows."""
        found = os.pread(self.handle(), PLACE.itemsize * max(0, min(stop, len(self)) - start), start * PLACE.itemsize)
        return np.frombuffer(found, dtype=PLACE)

    def _read(self, place: np.ndarray) -> np.ndarray:
        height, width = place["size"].tolist()
        canvas = np.empty((*place_image(self.kind, height, width).shape, self.kind.channels), dtype=np.uint8)
        data, done = canvas.reshape(-1).data, 0
        while done < len(data):
            got = os.preadv(self.handle(), [data[done:]], int(place["at"]) + done)
            if not got:
                raise CanvasError(f"{self.path}: the file of decoded images ends too early; was it changed?")
            done += got
        return canvas
