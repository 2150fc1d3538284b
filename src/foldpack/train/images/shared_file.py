"""Decoded training images in a file that outlives the run that made it, shared by all who train on the same images.

Its name says which images, in which order, decoded how: whoever changes a file gets another one. One process at a time
puts rows in, holding a lock that the system takes away from a dead one; the next goes on with the rows that are
missing. It is not trusted after a restart of the machine, when rows may be on the disk without their pixels.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from foldpack.data.geometry import CanvasKind, place_image
from foldpack.data.image_place import image_file
from foldpack.data.items import Items
from foldpack.files import reserve_bytes
from foldpack.predict.canvas_file import PLACE, CanvasFile
from foldpack.predict.page_stream import PageStream
from foldpack.predict.room import CANVAS_NAME, make_own_folder

LOOK_AGAIN = 0.2  # seconds between two looks at a lock that another process holds
BOOT = Path("/proc/sys/kernel/random/boot_id")


class SharedCanvasFile(CanvasFile):
    """Canvases in a file with a name of their own, kept for the next run."""

    def __init__(self, folder: Path, pages: PageStream, name: str, rows: int) -> None:
        """name: from `images_digest`; rows: for so many there is room, if the file is not there yet."""
        super().__init__(folder / f"{CANVAS_NAME}{name}.u8", pages, rows)

    @contextlib.contextmanager
    def filling(self, say: Callable[[str], None]) -> Iterator[None]:
        """While this process alone may put rows in. Makes the file where it is missing. Raises OSError."""
        make_own_folder(self.path.parent)
        with open(self.path.with_suffix(".lock"), "ab") as lock:
            wait_for(lock.fileno(), say, f"{self.path}: another process decodes the same images; waiting for it")
            self._open()
            yield

    def _open(self) -> None:
        """Take the file that is there, or make one; in use, it is not removed."""
        index = len(self) * PLACE.itemsize
        if not self.path.is_file() or self.path.stat().st_size < index:
            self.create()
        fcntl.flock(self.handle(), fcntl.LOCK_SH)
        os.utime(self.path)  # the one that was not used for longest goes first
        self._take_room()
        places = self.places()
        self._put = set(np.flatnonzero(places["at"]).tolist())
        last = places[int(np.argmax(places["at"]))] if self._put else None
        self._free = index if last is None else int(last["at"]) + row_bytes(self.kind, last["size"])

    def _take_room(self) -> None:
        """A file that was made where there was less room grows, if it can."""
        size = os.fstat(self.handle()).st_size
        with contextlib.suppress(OSError):
            if size < self.end:
                reserve_bytes(self.handle(), self.end)
        self.end = os.fstat(self.handle()).st_size

    def places(self) -> np.ndarray:
        """(n,) `PLACE` of all rows."""
        return self._places(0, len(self))

    def close(self) -> None:
        """`PixelSource.close`: the file stays."""
        self.pages.close()

    def __del__(self) -> None:
        """Who no longer reads it lets others remove it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def row_bytes(kind: CanvasKind, size: np.ndarray) -> int:
    """That the canvas of a file of this height and width takes."""
    height, width = place_image(kind, *size.tolist()).shape
    return height * width * kind.channels


def wait_for(handle: int, say: Callable[[str], None], note: str) -> None:
    """Take the lock of an open file. note: said once, where somebody else has it."""
    told = False
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                say(note)
            told = True
            time.sleep(LOOK_AGAIN)


def images_digest(items: Items, kind: CanvasKind) -> str:
    """32 hex digits: of these files as they are now, in this order, by their reader, as canvases of this kind."""
    boot = BOOT.read_text() if BOOT.is_file() else ""
    digest = hashlib.sha256(f"{boot}\n{kind!r}\n{items.reader!r}\n{PLACE!r}\n".encode())
    known: dict[Path, str] = {}
    for path in items.images:
        file = image_file(path) or path
        if file not in known:
            status = file.stat() if file.exists() else None
            known[file] = "missing" if status is None else f"{status.st_size} {status.st_mtime_ns}"
        digest.update(os.fsencode(f"{path.absolute()}\n{known[file]}\n"))
    return digest.hexdigest()[:32]


def remove_unused(folder: Path, until: Callable[[], bool], keep: Sequence[Path]) -> None:
    """Remove files of decoded images that nobody has open, those first that were not used for longest.

    until: whether enough is gone; keep: these stay.
    """
    files = [path for path in folder.glob(f"{CANVAS_NAME}*.u8") if path not in keep]
    for path in sorted(files, key=lambda path: path.stat().st_mtime):
        if until():
            return
        with contextlib.suppress(OSError), open(path, "rb") as file, open(path.with_suffix(".lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody fills it or is about to use it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
