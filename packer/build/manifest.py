"""What a dataset to upload holds: a manifest among its files, whose own name carries the hash of everything.

Kaggle's listing gives names and sizes only. With the hash in a name, the listing alone says whether this very content
is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from foldpack.files import link_or_copy, sha256_file, write_atomic
from packer.build.stage import empty_folder, write_dataset_metadata

METADATA_FILE = "dataset-metadata.json"  # read by the client, not uploaded
MANIFEST_PREFIX = "foldpack-manifest-"
MANIFEST_VERSION = 1
SIZE_LIMIT = 90 * 10**9  # bytes of one dataset; Kaggle takes 100 GB
SLUG_LIMIT = 50


@dataclass(frozen=True)
class Staged:
    """One dataset folder, ready to upload."""

    slug: str  # owner/name
    folder: Path
    content: str  # SHA-256 of the manifest
    files: dict[str, int]  # name -> size in bytes, the manifest too
    secret: bool  # holds keys: must be private whatever the user says

    @property
    def notes(self) -> str:
        """The version's message."""
        return f"foldpack sha256:{self.content}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def finish_dataset(folder: Path, slug: str, *, secret: bool = False) -> Staged:
    """Write the manifest of a flat folder of files. The same files give the same bytes."""
    files = {path.name: path for path in sorted(folder.iterdir()) if not is_ours(path.name)}
    rows = [{"name": name, "size": path.stat().st_size, "sha256": sha256_file(path)} for name, path in files.items()]
    text = json.dumps({"version": MANIFEST_VERSION, "files": rows}, indent=1) + "\n"
    content = hashlib.sha256(text.encode()).hexdigest()
    manifest = folder / f"{MANIFEST_PREFIX}{content[:16]}.json"
    for old in folder.glob(f"{MANIFEST_PREFIX}*.json"):
        old.unlink()
    write_atomic(manifest, text)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    return Staged(slug, folder, content, {**sizes, manifest.name: len(text)}, secret)


def is_ours(name: str) -> bool:
    """Whether a file is about the dataset, not in it."""
    return name == METADATA_FILE or name.startswith(MANIFEST_PREFIX)


def split_dataset(folder: Path, slug: str, limit: int = SIZE_LIMIT) -> list[tuple[str, Path]]:
    """Move files of a folder that is too large for one dataset into `<folder>-2`, `-3`, ...: (slug, folder) of each.

    slug: owner/name of the first. Files stay in the order of their names, so the same files are split the same way.
    """
    for old in folder.parent.glob(f"{folder.name}-[0-9]*"):
        shutil.rmtree(old)
    parts: list[list[Path]] = [[]]
    for path in sorted(path for path in folder.iterdir() if not is_ours(path.name)):
        if parts[-1] and sum(each.stat().st_size for each in parts[-1]) + path.stat().st_size > limit:
            parts.append([])
        parts[-1].append(path)
    made = [(slug, folder)]
    for number, files in enumerate(parts[1:], start=2):
        other, name = folder.with_name(f"{folder.name}-{number}"), part_slug(slug, number)
        empty_folder(other)
        for path in files:
            link_or_copy(path, other / path.name)
            os.unlink(path)
        write_dataset_metadata(other, name)
        made.append((name, other))
    return made


def part_slug(slug: str, number: int) -> str:
    """The slug of part `number`: `owner/name-2`, shortened so that Kaggle takes it."""
    owner, _, name = slug.partition("/")
    tail = f"-{number}"
    return f"{owner}/{name[: SLUG_LIMIT - len(tail)].rstrip('-')}{tail}"
