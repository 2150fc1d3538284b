"""What lies in a download: its images, its tables, and archives that wait to be unpacked."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from foldpack.recognise.findings import RecognitionError

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .tif .tiff .webp .bmp .gif .dcm .dicom .npy".split())
TABLE_SUFFIXES = frozenset(".csv .tsv .json .jsonl .bson".split())
UNPACK = {".zip": "unzip", ".7z": "7z x", ".gz": "tar xzf", ".tgz": "tar xzf", ".tar": "tar xf", ".rar": "unrar x",
          ".bz2": "tar xjf"}
UNPACK_ONE = {".gz": "gunzip", ".bz2": "bunzip2"}  # one file, no tar


@dataclass(frozen=True)
class Listing:
    """The files of a download: paths below its folder, with slashes, in order."""

    root: Path
    images: list[str]
    tables: list[str]
    archives: list[str]
    empty: list[str]  # folders

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """Name without suffix -> images."""
        return index_by(self.images, stem_of)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """Name -> images."""
        return index_by(self.images, lambda path: path.rpartition("/")[2])

    @cached_property
    def by_head(self) -> dict[str, list[str]]:
        """The beginning of a name, up to an underscore -> images."""
        found = defaultdict(list)
        for path in self.images:
            stem = stem_of(path)
            for place, letter in enumerate(stem):
                if letter == "_" and place:
                    found[stem[:place]].append(path)
        return dict(found)


def stem_of(path: str) -> str:
    """A file's name without its last suffix."""
    return os.path.splitext(path.rpartition("/")[2])[0]


def index_by(paths: list[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """key(path) -> paths."""
    found = defaultdict(list)
    for path in paths:
        found[key(path)].append(path)
    return dict(found)


def list_download(root: Path) -> Listing:
    """All files below a folder; hidden ones are passed over. Raises RecognitionError where there is nothing to see."""
    if not root.is_dir():
        raise RecognitionError(f"{root}: no such folder; give the competition's folder, as downloaded")
    images: list[str] = []
    tables: list[str] = []
    archives: list[str] = []
    empty: list[str] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        below = Path(folder).relative_to(root).as_posix()
        if not names and not files:
            empty.append(below)
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()
            path = name if below == "." else f"{below}/{name}"
            if name.startswith("."):
                continue
            kinds: list[tuple[Container[str], list[str]]]
            kinds = [(IMAGE_SUFFIXES, images), (TABLE_SUFFIXES, tables), (UNPACK, archives)]
            for suffixes, found in kinds:
                if suffix in suffixes:
                    found.append(path)
    if not (images or tables or archives):
        raise RecognitionError(f"{root}: there is no image and no table in this folder; give the competition's folder, "
                               "as downloaded and unpacked")
    return Listing(root, images, tables, archives, sorted(empty))


def unpack_command(listing: Listing) -> str:
    """The command that unpacks the first archive beside it; "" where there is none."""
    if not listing.archives:
        return ""
    path = listing.archives[0]
    folder, _, name = path.rpartition("/")
    suffix = os.path.splitext(name)[1].lower()
    packed = UNPACK_ONE.get(suffix) if not name.lower().endswith((".tar.gz", ".tar.bz2")) else None
    return f"cd '{listing.root / folder}' && {packed or UNPACK[suffix]} '{name}'"


def still_packed(listing: Listing) -> str:
    """"" or the end of a message: which archives lie there, and what unpacks the first."""
    if command := unpack_command(listing):
        count = len(listing.archives)
        return f"; {count} archive{'s lie' if count > 1 else ' lies'} there packed: {command}"
    return ""
