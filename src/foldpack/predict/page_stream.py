"""Images that are kept nowhere: decoded when they are asked for, by threads that work a little ahead.

The same decoder at the same size gives the same pixels, so a unit that reads from a stream gives the same bits as one
that reads decoded images from memory or disk. It only costs a decode for each image and unit.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from foldpack.data.decode import Decoded, decode_item

PIXEL_BYTES = 3
AHEAD_ROWS = 64  # rows that may be decoded or in work before they are asked for: a batch on a GPU
STALL_SECONDS = 60.0  # one image may take so long; then its row is given up


@dataclass(frozen=True)
class CanvasKind:
    """What decides the pixels of an item."""

    size: int  # side, pixels
    decoder: str

    def __str__(self) -> str:
        return f"{self.size} px" + ("" if self.decoder == "pillow" else f" by {self.decoder}")

    @property
    def row_bytes(self) -> int:
        """Of one item."""
        return self.size * self.size * PIXEL_BYTES


class PageStream:
    """(n, size, size, 3) uint8 RGB of some files; slices are decoded. For one reader, which may be another process.

    At most `AHEAD_ROWS` rows are held besides the slice that is being read. A row without pixels is black and named by
    `lost_rows`.
    """

    def __init__(self, paths: Sequence[Path], kind: CanvasKind, threads: int) -> None:
        """paths: of all rows; threads: that decode, once something is asked for."""
        self.paths = paths
        self.kind = kind
        self.threads = max(1, threads)
        self._lost: set[int] = set()
        self._forget()

    def _forget(self) -> None:
        self._expected: Sequence[int] = ()
        self._ahead: dict[int, Future[Decoded]] = {}
        self._jobs: SimpleQueue[tuple[int, Future[Decoded]] | None] = SimpleQueue()
        self._running = 0

    def __getstate__(self) -> dict[str, object]:
        return {"paths": self.paths, "kind": self.kind, "threads": self.threads, "_lost": set()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self.paths)

    def expect(self, start: int, stop: int) -> None:
        """These rows will be asked for next, in order; no others are decoded ahead."""
        self.expect_rows(range(start, min(stop, len(self))))

    def expect_rows(self, rows: Sequence[int]) -> None:
        """The same for rows that do not follow each other. rows: ascending."""
        self._expected = rows
        wanted = set(rows)
        for row in [row for row in self._ahead if row not in wanted]:
            self._ahead.pop(row).cancel()

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        pixels = np.empty((max(0, stop - start), self.kind.size, self.kind.size, PIXEL_BYTES), dtype=np.uint8)
        for row in range(start, stop):
            pixels[row - start] = self.row(row)
        return pixels

    def row(self, row: int) -> np.ndarray:
        """(size, size, 3) of one row; black where there are no pixels."""
        if row not in self._lost:
            self._look_ahead(row)
            try:
                decoded = self._ahead.pop(row).result(STALL_SECONDS)
            except TimeoutError:
                self._add_thread()  # the one that hangs is lost
            else:
                if decoded.state != "fallback":
                    return decoded.pixels[self.kind.size]
            self._lost.add(row)
        return np.zeros((self.kind.size, self.kind.size, PIXEL_BYTES), dtype=np.uint8)

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """Rows from `start` on that were asked for and have no pixels. They are not tried again."""
        return sorted(row for row in self._lost if start <= row < stop)

    def _look_ahead(self, row: int) -> None:
        """Give this row and those behind it to the threads, as far as they are expected and there is room."""
        first = bisect_left(self._expected, row)
        window = [each for each in self._expected[first : first + AHEAD_ROWS] if each not in self._lost]
        for each in dict.fromkeys([row, *window]):
            if each not in self._ahead and (each == row or len(self._ahead) < AHEAD_ROWS):
                self._ahead[each] = Future()
                self._jobs.put((each, self._ahead[each]))
        while self._running < min(self.threads, len(self._ahead)):
            self._add_thread()

    def _add_thread(self) -> None:
        self._running += 1
        threading.Thread(target=self._work, args=(self._jobs,), name="stream", daemon=True).start()

    def _work(self, jobs: SimpleQueue[tuple[int, Future[Decoded]] | None]) -> None:
        while (job := jobs.get()) is not None:
            row, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(decode_item(self.paths[row], [self.kind.size], self.kind.decoder))
            except BaseException as failure:  # the reader must hear of it
                future.set_exception(failure)

    def close(self) -> None:
        """Forget what was decoded ahead; the threads end."""
        self.expect_rows(())
        for _ in range(self._running):
            self._jobs.put(None)
        self._forget()
