"""Decode every item once, for all members together, while the first networks are already at work.

Each file is read and decoded once; every canvas that some member asks for is made of that one decoded image, so the
pixels are those of the training to the last bit. Pixels lie in RAM, or in a file that is read back by the batch: a
memory map would count as memory of the process. What fits into neither (`predict.scratch`) is decoded once here all the
same, so that every image is counted once and a broken one is known; `PageStream` decodes it again when it is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from foldpack.data.decode import black_canvas, decode_item
from foldpack.data.depth import depth_warning
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items
from foldpack.predict.canvas_file import CanvasError, CanvasFile
from foldpack.predict.page_stream import STALL_SECONDS
from foldpack.predict.pixel_source import HeldPixels, PixelSource, hold_pixels


@dataclass
class DecodeReport:
    """How the items were decoded; each is in one of the three states."""

    repaired: dict[int, str] = field(default_factory=dict)  # row -> what was repaired
    fallback: dict[int, str] = field(default_factory=dict)  # row -> why there are no pixels
    largest: dict[int, int] = field(default_factory=dict)  # row -> the largest value of an image of 16 bits


class CanvasSet:
    """All items at every kind of canvas, decoded by threads in the background, row after row."""

    def __init__(self, items: Items, kinds: Iterable[CanvasKind],
                 pixels: Mapping[CanvasKind, PixelSource] | None = None,
                 clock: Callable[[], float] = time.monotonic, say: Callable[[str], None] = print) -> None:
        """pixels: where each kind lies, from `keep_canvases`; None: all in RAM. say: gets a line when room runs out."""
        self.items = items
        self.kinds = sorted(set(kinds), key=str)
        self.report = DecodeReport()
        self.pixels: dict[CanvasKind, PixelSource] = \
            {kind: hold_pixels(kind, len(items)) for kind in self.kinds} if pixels is None else dict(pixels)
        self._full: set[CanvasKind] = set()  # kinds whose file takes no more rows
        self._say = say
        self._clock = clock
        self._started = clock()
        self._next = 0
        self._ready = 0
        self._done = np.zeros(len(items), dtype=bool)
        self._since: dict[int, float] = {}  # rows in work
        self._failure: BaseException | None = None
        self._stop = False
        self._changed = threading.Condition()

    def leave_out(self, rows: np.ndarray) -> None:
        """Before `start`: these rows were decoded before, in another process."""
        self._done[rows] = True
        self._ready = int(np.argmin(np.append(self._done, False)))

    def start(self, threads: int) -> None:
        """Begin to decode with this many threads (the decoder releases the interpreter lock).

        Raises DataError where a package is missing that the items' reader needs.
        """
        self.items.reader.prepare(self.items.images)
        self._started = self._clock()
        for _ in range(max(1, min(threads, len(self.items)))):
            self._add_thread()

    def _add_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                row = self._next
                while row < len(self.items) and self._done[row]:
                    row += 1
                if self._stop or self._failure is not None or row >= len(self.items):
                    return
                self._next = row + 1
                self._since[row] = self._clock()
            try:
                repaired, fallback = self._decode(row)
            except MemoryError:
                repaired, fallback = "", f"{self.items.images[row]}: no memory to decode it"
            except BaseException as failure:  # nobody foresaw it: the waiting thread must hear of it
                with self._changed:
                    self._failure = failure
                    self._changed.notify_all()
                return
            self._finish(row, repaired, fallback)

    def _decode(self, row: int) -> tuple[str, str]:
        kept = [kind for kind in self.kinds if self._keeps(kind)]
        wanted = kept or self.kinds[:1]  # how it is must be known in any case
        decoded = decode_item(self.items.images[row], wanted, self.items.reader)
        if decoded.largest >= 0:
            self.report.largest[row] = decoded.largest
        for kind in kept:
            self._keep(kind, row, decoded.pixels[kind], decoded.size, (decoded.largest, decoded.state == "repaired"))
        return ("", decoded.reason) if decoded.state == "fallback" else (decoded.reason, "")

    def _keeps(self, kind: CanvasKind) -> bool:
        return isinstance(self.pixels[kind], (HeldPixels, CanvasFile)) and kind not in self._full

    def _keep(self, kind: CanvasKind, row: int, canvas: np.ndarray, size: tuple[int, int] = (0, 0),
              note: tuple[int, bool] = (-1, False)) -> None:
        """Put a row in its place. A full disk ends the keeping of this kind: readers decode its other rows again."""
        pixels = self.pixels[kind]
        assert isinstance(pixels, (HeldPixels, CanvasFile))
        try:
            if not pixels.put(row, canvas, size, note):
                self._full.add(kind)
        except OSError as failure:
            if kind not in self._full and not self._stop:  # after the end the files are gone
                self._full.add(kind)
                self._say(f"{kind}: no more decoded images can be kept ({failure}); the others are decoded again for "
                          "each unit")

    def _finish(self, row: int, repaired: str, fallback: str) -> None:
        with self._changed:
            if self._since.pop(row, None) is None:
                return  # given up as stalled before
            if fallback:
                self.report.fallback[row] = fallback
            elif repaired:
                self.report.repaired[row] = repaired
            self._settle(row)

    def _settle(self, row: int) -> None:
        self._done[row] = True
        while self._ready < len(self._done) and self._done[self._ready]:
            self._ready += 1
        self._changed.notify_all()

    def ready(self) -> int:
        """So many items from the first on are decoded."""
        return self._ready

    def finished(self) -> int:
        """How many items are decoded, wherever they stand."""
        return int(self._done.sum())

    def seconds_left(self) -> float:
        """Until all items are decoded, at the speed so far; 0 before the first is."""
        done = self.finished()
        return (self._clock() - self._started) / done * (len(self.items) - done) if done else 0.0

    def counts(self) -> dict[str, int]:
        """How many items ended in which state: decoded, repaired, and prior for those without pixels."""
        repaired, fallback = len(self.report.repaired), len(self.report.fallback)
        return {"decoded": self.finished() - repaired - fallback, "repaired": repaired, "prior": fallback}

    def reasons(self, most: int) -> list[str]:
        """What was wrong with items: at most so many of each state."""
        return [*list(self.report.fallback.values())[:most], *list(self.report.repaired.values())[:most]]

    def wait(self, rows: int, seconds: float) -> bool:
        """Wait until the first `rows` items are decoded; whether they are. Raises what stopped a decoding thread."""
        until = self._clock() + seconds
        with self._changed:
            while self._ready < rows:
                if self._failure is not None:
                    raise CanvasError(f"decoding stopped: {self._failure}") from self._failure
                self._give_up_stalled()
                left = until - self._clock()
                if self._ready >= rows or left <= 0:
                    break
                self._changed.wait(min(left, 1.0))
        return self._ready >= rows

    def _give_up_stalled(self) -> None:
        """A row that takes too long gets no pixels; its thread is lost, and replaced only when none is left."""
        now = self._clock()
        stalled = [row for row, since in self._since.items() if now - since > STALL_SECONDS]
        for row in stalled:
            del self._since[row]
            self.report.fallback[row] = f"{self.items.images[row]}: not decoded after {STALL_SECONDS:.0f} s, given up"
            for kind in [kind for kind in self.kinds if self._keeps(kind)]:
                self._keep(kind, row, black_canvas(kind))
            self._settle(row)
        if stalled and not self._since and self._next < len(self.items):
            self._add_thread()

    def close(self) -> None:
        """Stop decoding and remove the files."""
        with self._changed:
            self._stop = True
        for pixels in self.pixels.values():
            pixels.close()

    @property
    def broken(self) -> np.ndarray:
        """(n,) bool: no pixels; the prior answers."""
        mask = np.zeros(len(self.items), dtype=bool)
        mask[list(self.report.fallback)] = True
        return mask


@dataclass(frozen=True)
class Canvas:
    """Decoded items of one kind, row by row."""

    pixels: np.ndarray | list[np.ndarray]  # (n, H, W, C) uint8, or n of them where they vary; a broken item is black
    broken: np.ndarray  # (n,) bool: could not be decoded
    reasons: list[str]  # one line for each broken item
    repaired: list[str]  # one line for each item that was damaged and repaired
    warning: str = ""  # on 16-bit images that use few of their bits


def decode_items(items: Items, kind: CanvasKind, threads: int, on_item: Callable[[int], None] | None = None) -> Canvas:
    """Decode all items to RAM with `threads` threads.

    `on_item` is called now and then with the number of items done. Broken images are recorded, never raised.
    """
    held = hold_pixels(kind, len(items))
    canvases = CanvasSet(items, [kind], {kind: held})
    canvases.start(threads)
    try:
        while not canvases.wait(len(items), 0.25):
            if on_item is not None:
                on_item(canvases.finished())
        if on_item is not None:
            on_item(len(items))
    finally:
        canvases.close()
    report = canvases.report
    reasons, repaired = ([found[row] for row in sorted(found)] for found in (report.fallback, report.repaired))
    return Canvas(held.canvases, canvases.broken, reasons, repaired, depth_warning(report.largest.values()))
