"""Where training reads its images: memory, a file of decoded ones, or their own files, decoded when they are asked for.

Whichever it is, the pixels are the same to the bit, and every image is decoded once before the first epoch, so that a
broken one is known in time.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.data.decode import Decoded, decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items
from foldpack.errors import DataError
from foldpack.predict.canvas import CanvasSet, DecodeReport
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import hold_pixels
from foldpack.predict.room import (
    CANVAS_NAME,
    RAM_SHARE,
    SPARE_ROOM,
    UNKNOWN_MEMORY,
    Place,
    free_memory,
    nearest_existing,
)
from foldpack.predict.scratch import Kept, plan_canvases
from foldpack.settings.run import ImagesMode
from foldpack.train.images.picked import TrainingPixels
from foldpack.train.images.shared_file import SharedCanvasFile, images_digest, remove_unused

Say = Callable[[str], None]
WEIGHTS_ROOM = 4 << 30  # bytes left free for checkpoints and predictions
AHEAD = 32 << 20  # bytes of canvases that are decoded before the evaluation asks for them
LOOK = 0.25  # seconds between two looks at what is decoded
TELL = 30.0  # seconds of decoding between two lines


@dataclass(frozen=True)
class TrainingImages:
    """The canvases of all items, and how the decoding went."""

    pixels: TrainingPixels
    report: DecodeReport

    @property
    def broken(self) -> list[str]:
        """A line for each item without pixels, in their order."""
        return [self.report.fallback[row] for row in sorted(self.report.fallback)]

    @property
    def repaired(self) -> list[str]:
        """A line for each damaged one that was repaired."""
        return [self.report.repaired[row] for row in sorted(self.report.repaired)]


def open_images(items: Items, kind: CanvasKind, mode: ImagesMode, cache: Path, say: Say,
                shared: bool = False) -> TrainingImages:
    """Look through all images and keep them where `mode` says. cache: folder for decoded ones, on a disk with room.

    "auto" is memory if they take at most 40 % of what is free, else the disk as far as there is room; what is not kept
    is decoded whenever it is asked for. shared: other processes of this machine read the same images, so "auto" does
    not take memory of each. Raises DataError where there is not even room for one of what was asked for.
    """
    threads = os.cpu_count() or 1
    pages = PageStream(items.images, kind, threads, items.reader, AHEAD)
    name = images_digest(items, kind) if mode in ("auto", "disk") else ""
    kept = plan_place(len(items), kind, mode, cache, name, shared)
    if kept.place is None:
        if mode == "disk" and len(items):
            raise DataError(f"{cache}: no room for decoded images, which `images: disk` asks for; free some of the "
                            "disk, or choose `images: stream`")
        return looked_through(items, kind, pages, threads, say)
    if kept.place.folder is None:
        return looked_through(items, kind, hold_pixels(kind, len(items)), threads, say)
    say(f"decoded images: {kept.text('in each epoch')}; the file may be removed when nothing trains")
    file = SharedCanvasFile(cache, pages, name, kept.rows)
    try:
        with file.filling(say):
            return looked_through(items, kind, file, threads, say)
    except OSError as failure:
        if mode == "disk":
            raise DataError(f"{cache}: decoded images cannot be kept there ({failure}), which `images: disk` asks for; "
                            "choose `images: stream`") from None
        say(f"warning: {cache}: decoded images cannot be kept there ({failure}); they are decoded again in each epoch")
        return looked_through(items, kind, pages, threads, say)


def unseen_images(items: Items, kind: CanvasKind) -> TrainingImages:
    """All images, none of them looked at: another process does."""
    return TrainingImages(PageStream(items.images, kind, 1, items.reader, AHEAD), DecodeReport())


def plan_place(count: int, kind: CanvasKind, mode: ImagesMode, cache: Path, name: str, shared: bool = False) -> Kept:
    """Where so many images go, and how many of them. Older files of decoded images make room."""
    places = [Place(None, sys.maxsize)] if mode == "memory" else []
    if mode == "auto" and not shared:
        places = [Place(None, int((free_memory() or UNKNOWN_MEMORY) * RAM_SHARE))]
    [kept] = plan_canvases(count, {kind: 1}, places)
    if mode in ("memory", "stream") or kept.rows == count:
        return kept
    own = cache / f"{CANVAS_NAME}{name}.u8"
    whole = Kept(kind, None, count, count).bytes
    remove_unused(cache, lambda: disk_room(cache, own) >= whole, [own])
    return plan_canvases(count, {kind: 1}, [Place(cache, disk_room(cache, own))])[0]


def disk_room(folder: Path, own: Path) -> int:
    """Bytes that decoded images may take in a folder; those of a file that is there already are taken."""
    there = own.stat().st_size if own.is_file() else 0
    return max(0, shutil.disk_usage(nearest_existing(folder)).free - SPARE_ROOM - WEIGHTS_ROOM) + there


def looked_through(items: Items, kind: CanvasKind, pixels: TrainingPixels, threads: int, say: Say) -> TrainingImages:
    """Decode all that is not there yet, by threads, and keep what is to be kept."""
    canvases = CanvasSet(items, [kind], {kind: pixels}, say=say)
    if isinstance(pixels, SharedCanvasFile):
        canvases.report = report_of(items, kind, pixels.places())
        canvases.leave_out(np.flatnonzero(pixels.places()["at"]))
    canvases.start(threads)
    try:
        waited = 0.0
        while not canvases.wait(len(items), LOOK):
            waited += LOOK
            if waited % TELL < LOOK:
                say(f"decoded {canvases.finished():,} of {len(items):,} images, about {canvases.seconds_left():.0f} s "
                    "left")
    finally:
        canvases.close()
    return TrainingImages(pixels, canvases.report)


def report_of(items: Items, kind: CanvasKind, places: np.ndarray) -> DecodeReport:
    """How the rows of a file were decoded that another process has put there."""
    there = places["at"] > 0
    broken = np.flatnonzero(there & (places["size"] == 0).any(axis=1)).tolist()
    repaired = np.flatnonzero(there & (places["repaired"] > 0)).tolist()

    def again(row: int) -> Decoded:
        return decode_item(items.images[row], [kind], items.reader)

    if broken or repaired:
        items.reader.prepare(items.images)
    told = {row: f"{items.images[row]}: repaired" for row in repaired}  # the first of them is named with its reason
    return DecodeReport(told | {row: again(row).reason for row in repaired[:1]},
                        {row: again(row).reason or f"{items.images[row]}: could not be decoded" for row in broken},
                        {row: int(places["largest"][row])
                         for row in np.flatnonzero(there & (places["largest"] >= 0)).tolist()})
