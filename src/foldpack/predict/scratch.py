"""Which decoded images are kept, and where: as much as there is room for; the rest is decoded again for every unit.

Kept are first the kinds that save most decodes for a byte: those of many units and few pixels. A kind goes to the first
place that holds all of it. One that fits nowhere goes to the place with the most room, as far as it fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items
from foldpack.predict.canvas_file import PLACE, CanvasFile
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import HeldPixels, PixelSource, hold_pixels
from foldpack.predict.room import CANVAS_NAME, Place


@dataclass(frozen=True)
class Kept:
    """How much of a kind is kept, and where. rows: surely, by the most that a canvas takes; 0: all are streamed."""

    kind: CanvasKind
    place: Place | None
    rows: int
    count: int

    @property
    def bytes(self) -> int:
        """That are taken of the place, at most."""
        return self.rows * self.kind.most_bytes + (self.count * PLACE.itemsize if self.rows else 0)

    def text(self, again: str = "for each unit") -> str:
        """For people: what is kept where, and what is decoded again, and when."""
        where = "memory" if self.place is None or self.place.folder is None else str(self.place.folder)
        size = f"{self.bytes / 1e9:.1f} GB in {where}"
        if self.rows == self.count:
            return f"{self.kind}: {size}"
        rest = f"{self.count - self.rows:,} of {self.count:,} images are decoded again {again}"
        return f"{self.kind}: {size}, {rest}" if self.rows else f"{self.kind}: {rest}"


class Rooms:
    """Places and what is still free in them."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.left = [place.room for place in places]

    def offer(self, kind: CanvasKind, count: int) -> Kept:
        """Where a kind of so many images goes, and how many of them fit. Of boxes none: how many there are is not
        known, so `crops.CropStream` cuts them anew for each unit."""
        if kind.geometry.kind == "box":
            return Kept(kind, None, 0, count)
        fits = [max(0, min(count, (left - count * PLACE.itemsize) // kind.most_bytes)) for left in self.left]
        for number, rows in enumerate(fits):
            if self.places[number].folder is None and rows < count:
                fits[number] = 0  # memory takes a kind as a whole or not at all
        best = max(range(len(fits)), key=lambda number: (fits[number], -number), default=0)
        if not fits or not fits[best]:
            return Kept(kind, None, 0, count)
        return Kept(kind, self.places[best], fits[best], count)

    def take(self, kept: Kept) -> None:
        """What was offered is used."""
        if kept.place is not None:
            self.left[self.places.index(kept.place)] -= kept.bytes

    def spoil(self, kept: Kept) -> None:
        """A place has less than it said: it is used no more."""
        if kept.place is not None:
            self.left[self.places.index(kept.place)] = 0


def keeping_order(uses: Mapping[CanvasKind, int]) -> list[CanvasKind]:
    """Kinds, those first that save most decodes for a byte. uses: units that read each kind."""
    return sorted(uses, key=lambda kind: (-uses[kind] / kind.most_bytes, str(kind)))


def plan_canvases(count: int, uses: Mapping[CanvasKind, int], places: Sequence[Place]) -> list[Kept]:
    """What would be kept of so many images, if all places have what they say."""
    rooms, plan = Rooms(places), []
    for kind in keeping_order(uses):
        plan.append(rooms.offer(kind, count))
        rooms.take(plan[-1])
    return plan


def keep_canvases(items: Items, uses: Mapping[CanvasKind, int], places: Sequence[Place], threads: int,
                  say: Callable[[str], None]) -> tuple[dict[CanvasKind, PixelSource], list[Kept]]:
    """Room for the images of whole `items`, reserved: where there is none after all, the next place is asked.

    threads: that decode what is streamed, in each process.
    """
    rooms = Rooms(places)
    pixels: dict[CanvasKind, PixelSource] = {}
    plan = []
    for kind in keeping_order(uses):
        pages = PageStream(items.images, kind, threads, items.reader)
        kept = rooms.offer(kind, len(items.images))
        while kept.rows:
            try:
                pixels[kind] = room_for(kept, pages)
                break
            except (OSError, MemoryError) as failure:
                say(f"{kind}: no room in {kept.place.folder if kept.place else None} after all ({failure})")
                rooms.spoil(kept)
                kept = rooms.offer(kind, len(items.images))
        pixels.setdefault(kind, pages)
        rooms.take(kept)
        plan.append(kept)
    return pixels, plan


def room_for(kept: Kept, pages: PageStream) -> HeldPixels | CanvasFile:
    """The room itself. Raises OSError or MemoryError where there is none."""
    if kept.place is None or kept.place.folder is None:
        return hold_pixels(kept.kind, kept.count)
    file = CanvasFile(kept.place.folder / f"{CANVAS_NAME}{kept.kind.file_name}.u8", pages, kept.rows)
    file.create()
    return file


def canvas_bytes(count: int, kinds: Sequence[CanvasKind]) -> int:
    """What the decoded images of `count` items take, at most."""
    return count * sum(kind.most_bytes for kind in set(kinds))
