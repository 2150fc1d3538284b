"""Images that are kept nowhere: decoded when they are asked for, by threads that work a little ahead.

The same decoder at the same size gives the same pixels, so a unit that reads from a stream gives the same bits as one
that reads decoded images from memory or disk. It only costs a decode for each image and unit.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from foldpack.data.decode import PILLOW, Decoded, black_canvas, decode_item
from foldpack.data.geometry import CanvasKind, image_frames
from foldpack.data.readers.protocol import Reader
from foldpack.predict.pixel_source import gather_canvases

AHEAD_BYTES = 256 * 2**20  # of canvases that may be decoded or in work before they are asked for; at least one
STALL_SECONDS = 60.0  # one image may take so long; then its row is given up


class PageStream:
    """The canvases of some files, decoded when they are taken. For one reader, which may be another process.

    At most so many bytes are held besides what is being taken. A row without pixels is black and named by `lost_rows`.
    """

    def __init__(self, paths: Sequence[Path], kind: CanvasKind, threads: int, reader: Reader = PILLOW,
                 ahead: int = 0) -> None:
        """paths: of all rows; threads: that decode, once something is asked for. ahead: bytes; 0: `AHEAD_BYTES`."""
        self.ahead = ahead
        self.paths = paths
        self.kind = kind
        self.reader = reader
        self.threads = max(1, threads)
        self._reset()

    def _reset(self) -> None:
        self._prepared = False
        self._lost: set[int] = set()
        self._sizes = np.zeros((len(self.paths), 2), dtype=np.int32)  # of the files, once they are decoded
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._expected: Sequence[int] = ()
        self._ahead: dict[int, Future[Decoded]] = {}
        self._jobs: SimpleQueue[tuple[int, Future[Decoded]] | None] = SimpleQueue()
        self._running = 0

    def __getstate__(self) -> dict[str, object]:
        return {"paths": self.paths, "kind": self.kind, "threads": self.threads, "reader": self.reader,
                "ahead": self.ahead}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return len(self.paths)

    def expect(self, start: int, stop: int) -> None:
        """These rows will be asked for next, in order; no others are decoded ahead."""
        self.expect_rows(range(start, min(stop, len(self))))

    def expect_rows(self, rows: Sequence[int]) -> None:
        """The same for rows that do not follow each other. rows: ascending."""
        self._mind_fork()
        self._expected = rows
        wanted = set(rows)
        for row in [row for row in self._ahead if row not in wanted]:
            self._ahead.pop(row).cancel()

    def take(self, start: int, stop: int) -> np.ndarray | list[np.ndarray]:
        """Canvases of some rows: `PixelSource.take`."""
        rows = range(start, min(stop, len(self)))
        return gather_canvases(self.kind, len(rows), map(self.row, rows))

    def row(self, row: int) -> np.ndarray:
        """(H, W, C) of one row; black where there are no pixels."""
        self._mind_fork()
        if row not in self._lost:
            if not self._prepared:  # outside of the time that an image may take
                self.reader.prepare(self.paths)
                self._prepared = True
            self._look_ahead(row)
            try:
                decoded = self._ahead.pop(row).result(STALL_SECONDS)
            except TimeoutError:
                self._add_thread()  # the one that hangs is lost
            else:
                if decoded.state != "fallback":
                    self._sizes[row] = decoded.size
                    return decoded.pixels[self.kind]
            self._lost.add(row)
        return black_canvas(self.kind)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """`PixelSource.frames`."""
        return image_frames(self.kind, self._sizes[start:stop])

    def lost_rows(self, start: int, stop: int) -> list[int]:
        """Rows from `start` on that were asked for and have no pixels. They are not tried again."""
        return sorted(row for row in self._lost if start <= row < stop)

    def _mind_fork(self) -> None:
        """Threads do not live on in a forked process."""
        if self._process != os.getpid():
            self._forget()

    def _look_ahead(self, row: int) -> None:
        """Give this row and those behind it to the threads, as far as they are expected and there is room."""
        most = max(1, (self.ahead or AHEAD_BYTES) // self.kind.most_bytes)
        for each in [row, *self._expected[bisect_left(self._expected, row) :][:most]]:
            if len(self._ahead) >= most and row in self._ahead:
                break
            if each not in self._ahead and each not in self._lost:
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
                future.set_result(decode_item(self.paths[row], [self.kind], self.reader))
            except BaseException as failure:  # the reader must hear of it
                future.set_exception(failure)

    def close(self) -> None:
        """Forget what was decoded ahead; the threads end."""
        self.expect_rows(())
        for _ in range(self._running):
            self._jobs.put(None)
        self._forget()
