"""Where the images of a table lie: by the suffix of the adapter, else by any other ending that an image can have."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PICTURE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif")


class ImageFolder:
    """A folder of images, listed once; folders in it are listed when an id leads into them."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """suffix: what follows an id in its image's file name; empty if the id has it."""
        self.folder = folder
        self.suffix = suffix
        self.plain = suffix.startswith(".") and suffix.count(".") == 1  # an ending and nothing else
        self.names: dict[str, set[str]] = {}  # of the files in a folder
        self.stems: dict[str, dict[str, list[str]]] = {}  # of a folder: name without its ending -> names of images

    def find(self, ids: list[str]) -> list[str]:
        """The file of each id, relative to the folder. Where there is none it is the id and the suffix."""
        return [self._find(item) for item in ids]

    def _find(self, item: str) -> str:
        head, slash, tail = item.rpartition("/")
        wanted = f"{tail}{self.suffix}"
        if wanted in self._listed(head):
            return f"{item}{self.suffix}"
        if tail in self._listed(head) and is_image_name(tail):
            return item
        for stem in self._stems_of(tail):
            found = choose_image(self._by_stem(head).get(stem, []), wanted)
            if found:
                return f"{head}{slash}{found}"
        return f"{item}{self.suffix}"

    def _stems_of(self, tail: str) -> list[str]:
        """What the image's name may be before its ending: that of the suffix, then that in the id."""
        wanted = f"{tail}{self.suffix}"
        first = tail if self.plain else without_ending(wanted)
        return list(dict.fromkeys([first, without_ending(tail)])) if self.plain or not self.suffix else [first]

    def _listed(self, head: str) -> set[str]:
        if head not in self.names:
            inside = not head.startswith("/") and ".." not in head.split("/")
            try:
                self.names[head] = set(os.listdir(self.folder / head)) if inside else set()
            except (OSError, ValueError):  # there is no such folder, or its name is none
                self.names[head] = set()
        return self.names[head]

    def _by_stem(self, head: str) -> dict[str, list[str]]:
        if head not in self.stems:
            stems: dict[str, list[str]] = {}
            for name in sorted(self._listed(head)):
                if is_image_name(name):
                    stems.setdefault(without_ending(name), []).append(name)
            self.stems[head] = stems
        return self.stems[head]

    def renamed(self, ids: list[str], found: list[str]) -> str:
        """A line on images that end otherwise than the adapter says; "" where all end so, or are missing."""
        other = [(item, name) for item, name in zip(ids, found, strict=True) if name != f"{item}{self.suffix}"]
        if not other:
            return ""
        item, name = other[0]
        return (f"{self.folder}: {len(other)} of {len(ids)} images have another ending than expected and are taken, "
                f"such as '{name}' for '{item}{self.suffix}'")

    def missing(self, found: Iterable[str]) -> list[str]:
        """Those of the found files that are not there."""
        parts = ((name, *name.rpartition("/")) for name in dict.fromkeys(found))
        return [name for name, head, _, tail in parts if tail not in self._listed(head)]

    def surplus(self, found: Iterable[str]) -> list[str]:
        """The images in the listed folders that no id asks for, without their endings."""
        asked = {without_ending(name) for name in found}
        there = {without_ending(f"{head}/{name}" if head else name) for head, names in self.names.items()
                 for name in names if self._counts(name)}
        return sorted(there - asked)

    def _counts(self, name: str) -> bool:
        """Whether a file may be an item's image: where each item has several, such as `x_red.png`, only one does."""
        return name.endswith(self.suffix) if self.suffix and not self.plain else (
            is_image_name(name) or self.plain and name.endswith(self.suffix))


def choose_image(names: list[str], wanted: str) -> str:
    """The one of several files that is meant: the only one, or the only one that differs in capitals; else ""."""
    if len(names) > 1:
        names = [name for name in names if name.lower() == wanted.lower()]
    return names[0] if len(names) == 1 else ""


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as images do, in small letters or capitals; no hidden file."""
    return name.lower().endswith(PICTURE_ENDINGS) and not name.startswith(".")


def without_ending(name: str) -> str:
    """A name without the ending of an image; unchanged where it has none."""
    return name[: name.rindex(".")] if is_image_name(name.rpartition("/")[2]) else name
