"""Decode every item once, for all members together, while the first networks are already at work.

Each file is read and decoded once; every side that some member asks for is cut from that one decoded image, so the
pixels are those of the training to the last bit. Pixels lie in RAM where they fit, else in a scratch file that is read
back by the batch: a memory map would count as memory of the process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.data.decode import decode_item
from foldpack.data.depth import depth_warning
from foldpack.data.items import Items
from foldpack.errors import FoldpackError

RAM_SHARE = 0.4  # of the free memory that canvases may take before they go to a file
STALL_SECONDS = 60.0  # one image may take so long; then its row is given up
PIXEL_BYTES = 3


class CanvasError(FoldpackError):
    """No room for the decoded images, or they were not decoded in time."""


@dataclass(frozen=True)
class CanvasKind:
    """What decides the pixels of an item."""

    size: int  # side, pixels
    decoder: str


class CanvasFile:
    """(n, size, size, 3) uint8 in a file; slices are read, rows are written. Safe in several threads and processes."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.path = path
        self.shape = (count, size, size, PIXEL_BYTES)
        self.row_bytes = size * size * PIXEL_BYTES
        self._handle: int | None = None

    def create(self) -> None:
        """Make an empty file of the whole length, readable by its owner only. Raises CanvasError for a full disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(handle, self.row_bytes * self.shape[0])
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
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        data = bytearray(self.row_bytes * max(0, stop - start))
        done = 0
        while done < len(data):
            got = os.preadv(self.handle(), [memoryview(data)[done:]], start * self.row_bytes + done)
            if not got:
                raise CanvasError(f"{self.path}: the file of decoded images ends too early; was it changed?")
            done += got
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, *self.shape[1:])

    def __setitem__(self, row: int, pixels: np.ndarray) -> None:
        data = np.ascontiguousarray(pixels, dtype=np.uint8)
        if os.pwrite(self.handle(), data.data, row * self.row_bytes) != self.row_bytes:
            raise OSError(28, "no space left for decoded images", str(self.path))


Pixels = np.ndarray | CanvasFile


@dataclass
class DecodeReport:
    """How the items were decoded; each is in one of the three states."""

    repaired: dict[int, str] = field(default_factory=dict)  # row -> what was repaired
    fallback: dict[int, str] = field(default_factory=dict)  # row -> why there are no pixels
    largest: dict[int, int] = field(default_factory=dict)  # row -> the largest value of an image of 16 bits


class CanvasSet:
    """All items at every kind of canvas, decoded by threads in the background, row after row."""

    def __init__(self, items: Items, kinds: Sequence[CanvasKind], scratch: Path | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """scratch: folder for canvases that must be shared between processes or do not fit in RAM; None: always RAM."""
        self.items = items
        self.kinds = sorted(set(kinds), key=lambda kind: (kind.decoder, kind.size))
        self.report = DecodeReport()
        self.pixels: dict[CanvasKind, Pixels] = {kind: self._room(kind, scratch) for kind in self.kinds}
        self._clock = clock
        self._started = clock()
        self._next = 0
        self._ready = 0
        self._done = np.zeros(len(items), dtype=bool)
        self._since: dict[int, float] = {}  # rows in work
        self._failure: BaseException | None = None
        self._stop = False
        self._changed = threading.Condition()

    def _room(self, kind: CanvasKind, scratch: Path | None) -> Pixels:
        if scratch is None:
            return np.zeros((len(self.items), kind.size, kind.size, PIXEL_BYTES), dtype=np.uint8)
        name = f"canvas-{kind.decoder}-{kind.size}.u8"
        made = CanvasFile(scratch / name, len(self.items), kind.size)
        made.create()
        return made

    def start(self, threads: int) -> None:
        """Begin to decode with this many threads (the decoder releases the interpreter lock)."""
        self._started = self._clock()
        for _ in range(max(1, min(threads, len(self.items)))):
            self._add_thread()

    def _add_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                row = self._next
                if self._stop or self._failure is not None or row >= len(self.items):
                    return
                self._next += 1
                self._since[row] = self._clock()
            try:
                repaired, fallback = self._decode(row)
            except BaseException as failure:  # a full disk, no memory: the waiting thread must hear of it
                with self._changed:
                    self._failure = failure
                    self._changed.notify_all()
                return
            self._finish(row, repaired, fallback)

    def _decode(self, row: int) -> tuple[str, str]:
        repaired = fallback = ""
        for decoder in dict.fromkeys(kind.decoder for kind in self.kinds):
            sizes = [kind.size for kind in self.kinds if kind.decoder == decoder]
            decoded = decode_item(self.items.paths[row], sizes, decoder)
            if decoded.state == "fallback":
                fallback = decoded.reason
                continue
            if decoded.largest >= 0:
                self.report.largest[row] = decoded.largest
            repaired = decoded.reason if decoded.state == "repaired" else repaired
            for size in sizes:
                self.pixels[CanvasKind(size, decoder)][row] = decoded.pixels[size]
        return repaired, fallback

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
            self.report.fallback[row] = f"{self.items.paths[row]}: not decoded after {STALL_SECONDS:.0f} s, given up"
            self._settle(row)
        if stalled and not self._since and self._next < len(self.items):
            self._add_thread()

    def close(self) -> None:
        """Stop decoding and remove the scratch files."""
        with self._changed:
            self._stop = True
        for pixels in self.pixels.values():
            if isinstance(pixels, CanvasFile):
                pixels.path.unlink(missing_ok=True)

    @property
    def broken(self) -> np.ndarray:
        """(n,) bool: no pixels; the prior answers."""
        mask = np.zeros(len(self.items), dtype=bool)
        mask[list(self.report.fallback)] = True
        return mask


@dataclass(frozen=True)
class Canvas:
    """Decoded items of one kind, row by row."""

    pixels: np.ndarray  # (n, size, size, 3) uint8 RGB; a broken item is black
    broken: np.ndarray  # (n,) bool: could not be decoded
    reasons: list[str]  # one line for each broken item
    repaired: list[str]  # one line for each item that was damaged and repaired
    warning: str = ""  # on 16-bit images that use few of their bits


def decode_items(
    items: Items, size: int, threads: int, on_item: Callable[[int], None] | None = None, decoder: str = "pillow"
) -> Canvas:
    """Decode all items to RAM with `threads` threads.

    `on_item` is called now and then with the number of items done. Broken images are recorded, never raised.
    """
    kind = CanvasKind(size, decoder)
    canvases = CanvasSet(items, [kind])
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
    return Canvas(np.asarray(canvases.pixels[kind]), canvases.broken, reasons, repaired,
                  depth_warning(report.largest.values()))


def canvas_bytes(count: int, kinds: Sequence[CanvasKind]) -> int:
    """Room that the canvases of `count` items take."""
    return count * sum(kind.size * kind.size * PIXEL_BYTES for kind in set(kinds))


def fits_in_ram(needed: int, free: int | None) -> bool:
    """Whether canvases of `needed` bytes stay in RAM when `free` bytes are free (None: not known)."""
    return needed < (free if free is not None else 4 << 30) * RAM_SHARE


def free_memory() -> int | None:
    """Bytes that this process may still take: the machine's, or its container's if that is less. None: not known."""
    found = []
    for path, pick in ((Path("/proc/meminfo"), meminfo_available), (Path("/sys/fs/cgroup/memory.max"), cgroup_left)):
        try:
            value = pick(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if value is not None:
            found.append(value)
    return min(found) if found else None


def meminfo_available(text: str) -> int | None:
    """`MemAvailable` of /proc/meminfo, bytes."""
    lines = [line for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(lines[0].split()[1]) * 1024 if lines else None


def cgroup_left(text: str) -> int | None:
    """What a container's limit leaves: the limit less what is in use and cannot be given back."""
    if text.strip() == "max":
        return None
    used = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii")
    taken = sum(int(line.split()[1]) for line in used.splitlines() if line.split()[0] in ("anon", "shmem"))
    return max(0, int(text) - taken)
