"""Items that the names of the image files tell of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foldpack.competitions.image_files import is_image_name
from foldpack.competitions.sources.text_table import TextTable, as_list, text_pattern
from foldpack.errors import DataError


def read_files_table(root: Path, split: str, pattern: str | list[str]) -> TextTable:
    """The images whose paths fit a pattern, or one of several, sorted by path within each; hidden files are none.

    Columns: the pattern's, and `path`. Raises DataError where nothing fits a pattern.
    """
    columns: dict[str, list[str]] = {"path": []}
    files: list[Path] = []
    seen: set[str] = set()
    for each in as_list(pattern):
        known = text_pattern(each, split)
        rows = [(path, found) for path in below(root, each.replace("{split}", split).split("/"), "")
                if (found := known.fullmatch(path)) and path not in seen]
        if not rows and split == "train":
            raise DataError(f"{root}: no image file fits the pattern '{each}'; write one such as "
                            "'train/{label}/{name}.png', or complete the download")
        for column in known.groupindex:
            columns.setdefault(column, [""] * len(files))
        for path, found in rows:
            seen.add(path)
            files.append(root / path)
            texts = found.groupdict()
            for name, cells in columns.items():
                cells.append(path if name == "path" else texts.get(name) or "")
    place = np.stack([np.arange(len(files)), np.zeros(len(files))], axis=1).astype(np.int32)
    return TextTable(columns, files or [root], place, "")


def below(root: Path, parts: list[str], head: str) -> Iterator[str]:
    """The files below `root / head` whose path has these parts, sorted. Each folder is listed once."""
    fits = part_pattern(parts[0])
    if fits is None and len(parts) > 1:  # a folder of this very name
        yield from below(root, parts[1:], f"{head}{parts[0]}/")
        return
    try:
        entries = sorted(os.scandir(root / head), key=lambda entry: entry.name)
    except OSError:  # there is no such folder
        return
    for entry in entries:
        name = entry.name
        if name.startswith(".") or not (fits.fullmatch(name) if fits else name == parts[0]):
            continue
        if len(parts) > 1:
            if entry.is_dir():
                yield from below(root, parts[1:], f"{head}{name}/")
        elif is_wanted(name, parts[0]) and entry.is_file():
            yield f"{head}{name}"


def part_pattern(part: str) -> re.Pattern[str] | None:
    """What fits one part of a path; None where that is only itself."""
    return re.compile("[^/]*".join(map(re.escape, re.split(r"\{[^{}]*\}|\*", part)))) if set(part) & set("{*") else None


def is_wanted(name: str, part: str) -> bool:
    """Whether a file is an image: as its pattern's ending says, or by its own."""
    ending = re.split(r"[}*]", part)[-1]
    return "." in ending or is_image_name(name)
