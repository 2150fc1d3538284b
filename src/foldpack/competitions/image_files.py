"""Where the images of items lie: at the path that is written, else under any other ending that an image can have."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from foldpack.competitions.sources.text_table import ANY_TEXT
from foldpack.errors import DataError

PICTURE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif")
ARRAY_ENDINGS = (".dcm", ".dicom", ".npy")  # what Pillow does not read


class ImageFiles:
    """The folders below a competition's, each listed once, when a path leads into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, list[str]] = {}  # of the files in a folder, sorted
        self.known: dict[str, set[str]] = {}
        self.stems: dict[str, dict[str, list[str]]] = {}  # of a folder: name without its ending -> names of images

    def find(self, path: str) -> str:
        """The file that a path, as a template gives it, means; the path where there is none.

        Raises DataError where `ANY_TEXT` in it could stand for several.
        """
        if ANY_TEXT in path:
            return self._found(path)
        head, slash, tail = path.rpartition("/")
        if tail in self._listed(head):
            return path
        stem = without_ending(tail)
        for wanted in dict.fromkeys([stem, without_ending(stem)]):
            named = stem if wanted != stem else tail
            if found := choose_image(self._by_stem(head).get(wanted, []), named):
                return f"{head}{slash}{found}"
        return path

    def _found(self, path: str) -> str:
        """The one file that fits a path with parts that may be any text."""
        heads = [""]
        *folders, tail = path.split("/")
        for part in folders:
            heads = [f"{head}{name}/" for head in heads for name in self._fitting(head, part)]
        fits = [f"{head}{name}" for head in heads for name in self._fitting(head, tail)]
        shown = path.replace(ANY_TEXT, "*")
        if len(fits) > 1:
            raise DataError(f"{self.root / shown}: '{fits[0]}' and '{fits[1]}' both fit; write more of the path, so "
                            "that one is left")
        return fits[0] if fits else shown

    def _fitting(self, head: str, part: str) -> list[str]:
        """The names in a folder that fit a part of a path."""
        head = head.rstrip("/")
        if ANY_TEXT not in part:
            return [part] if part in self._listed(head) else []
        first, *rest = part.split(ANY_TEXT)
        fits = re.compile("[^/]*".join(map(re.escape, [first, *rest])), re.DOTALL)
        self._listed(head)
        names, found = self.names[head], []
        for name in names[bisect_left(names, first):]:
            if not name.startswith(first):
                break
            if fits.fullmatch(name) and not name.startswith("."):
                found.append(name)
        return found

    def _listed(self, head: str) -> set[str]:
        if head not in self.known:
            inside = not head.startswith("/") and ".." not in head.split("/")
            try:
                self.names[head] = sorted(os.listdir(self.root / head)) if inside else []
            except (OSError, ValueError):  # there is no such folder, or its name is none
                self.names[head] = []
            self.known[head] = set(self.names[head])
        return self.known[head]

    def _by_stem(self, head: str) -> dict[str, list[str]]:
        if head not in self.stems:
            stems: dict[str, list[str]] = {}
            self._listed(head)
            for name in self.names[head]:
                if is_image_name(name):
                    stems.setdefault(without_ending(name), []).append(name)
            self.stems[head] = stems
        return self.stems[head]

    def is_there(self, path: str) -> bool:
        """Whether a path that was found is that of a file."""
        head, _, tail = path.rpartition("/")
        return tail in self._listed(head)

    def surplus(self, found: Iterable[str], ending: str) -> list[str]:
        """The images in the folders of the found files that no item has, without their endings.

        ending: what the template ends with after its last column: where each item has several images, such as
        `x_red.png`, only those that end so count.
        """
        found = list(found)
        plain = not ending or ending.startswith(".") and ending.count(".") == 1
        asked = {without_ending(path) for path in found}
        heads = {path.rpartition("/")[0] for path in found}
        there = {without_ending(f"{head}/{name}" if head else name) for head in heads for name in self._listed(head)
                 if (is_image_name(name) if plain else name.endswith(ending))}
        return sorted(there - asked)


def choose_image(names: list[str], wanted: str) -> str:
    """The one of several files that is meant: the very one, the only one, or the only one that differs in capitals;
    else ""."""
    if wanted in names:
        return wanted
    if len(names) > 1:
        names = [name for name in names if name.lower() == wanted.lower()]
    return names[0] if len(names) == 1 else ""


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as images do, in small letters or capitals; no hidden file."""
    return name.lower().endswith(PICTURE_ENDINGS + ARRAY_ENDINGS) and not name.startswith(".")


def without_ending(name: str) -> str:
    """A name without the ending of an image; unchanged where it has none."""
    return name[: name.rindex(".")] if is_image_name(name.rpartition("/")[2]) else name
