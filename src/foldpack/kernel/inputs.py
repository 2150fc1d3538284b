"""Find the kernel's inputs by what they are, never by where they are mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from foldpack.competitions.answer_table import read_columns, sample_form
from foldpack.errors import FoldpackError
from foldpack.sealed.container import read_sealed_header
from foldpack.sealed.errors import SealedError
from foldpack.sealed.format import SEALED_MAGIC, DataKey
from foldpack.sealed.keys import data_key_from_hex, read_keys_file
from foldpack.settings.ensemble import KEYS_FILE, EnsembleSpec, sealed_parts

SEARCH_DEPTH = 7  # folders below the input root
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".dcm", ".csv")


class InputError(FoldpackError):
    """Something the kernel needs is not among its inputs."""


def files_named(root: Path, wanted: str, suffix: bool = False) -> Iterator[Path]:
    """Files below `root` with this name (or this ending), in a fixed order, at most SEARCH_DEPTH deep."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders.sort()
        if len(here.relative_to(root).parts) >= SEARCH_DEPTH:
            folders.clear()
        yield from (here / name for name in sorted(names) if (name.endswith(wanted) if suffix else name == wanted))


def find_competition(root: Path, sample: str, columns: Sequence[str], slug: str) -> Path:
    """The folder that holds the competition's sample submission, with these columns. Raises InputError saying what was
    looked for.

    Of several candidates the one with the slug in its path below `root` is taken, else the first.
    """
    wanted = set(columns)
    first: Path | None = None
    other: list[str] = []  # what files of this name have instead
    for path in files_named(root, sample):
        columns = read_columns(path, *sample_form(path, sorted(wanted)))
        if not wanted <= set(columns):
            other.append(f"; {path} has: {', '.join(columns)}" if columns else f"; {path} cannot be read as CSV")
        elif slug in path.parent.relative_to(root).parts:
            return path.parent  # and folders that come later, full of images perhaps, are not listed
        else:
            first = first or path.parent
    if first is None:
        raise InputError(f"no {sample} with columns {', '.join(sorted(wanted))} below {root}"
                         f"{''.join(other[:3])}; attach the competition '{slug}' to the kernel")
    return first


def find_keys(root: Path, spec: EnsembleSpec, inline: dict[str, str]) -> dict[str, DataKey]:
    """The keys of the sealed files by file id, from the script or from the private dataset, as the spec says.

    inline: hex keys by sealed file name. Raises InputError when a key is missing.
    """
    if spec.keys == "dataset":
        paths = list(files_named(root, KEYS_FILE))
        if not paths:
            raise InputError(f"no {KEYS_FILE} below {root}; attach the private keys dataset to the kernel")
        keys = {file_id: key for path in paths for file_id, key in read_keys_file(path).items()}
    else:
        keys = {Path(name).stem: data_key_from_hex(text, "KEYS") for name, text in inline.items()}
    for part in sealed_parts(spec):
        if Path(part.file).stem not in keys:
            raise InputError(f"no key for the weights of {part.role}; run the script that holds its keys (mode 0600), "
                             "not the keyless one, or attach the right keys dataset")
    return keys


def find_sealed(root: Path, headers: dict[str, str]) -> tuple[dict[str, Path], list[str], list[str]]:
    """The sealed files with the given header hashes, wherever they lie and whatever they are called.

    headers: header hash -> what it is for. Returns the files by header hash, what the missing ones are for, and what is
    wrong with files that look like sealed ones but are damaged.
    """
    found: dict[str, Path] = {}
    damaged: list[str] = []
    for path in files_named(root, ".sealed", suffix=True):
        take_sealed(path, headers, found, damaged)
    if len(found) < len(headers):  # renamed? a sealed file is known by its first bytes
        for path in other_files(root, ".sealed"):
            take_sealed(path, headers, found, damaged)
    return found, [purpose for digest, purpose in headers.items() if digest not in found], damaged


def take_sealed(path: Path, headers: dict[str, str], found: dict[str, Path], damaged: list[str]) -> None:
    """Note a file in `found` when its header is one of those looked for; the first of several copies counts."""
    try:
        digest = read_sealed_header(path).header_sha256
    except SealedError as failure:
        print(f"not usable as weights: {failure}", flush=True)
        damaged.append(str(failure))
        return
    if digest in headers:
        found.setdefault(digest, path)


def other_files(root: Path, ending: str) -> Iterator[Path]:
    """Files below `root` without this ending that begin as a sealed file does. Folders of images are passed by."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        if len(Path(folder).relative_to(root).parts) >= SEARCH_DEPTH:
            folders.clear()
        for name in sorted(names):
            if not name.endswith((ending, *IMAGE_ENDINGS)) and starts_sealed(Path(folder) / name):
                yield Path(folder) / name


def starts_sealed(path: Path) -> bool:
    """Whether a file begins with the sealed format's magic."""
    try:
        with open(path, "rb") as file:
            return file.read(len(SEALED_MAGIC)) == SEALED_MAGIC
    except OSError:
        return False


def missing_text(missing: list[str], root: Path, damaged: list[str]) -> str:
    """What to say, and do, about sealed files that are not there. damaged: what is wrong with files that are."""
    if damaged:
        return (f"sealed weights of {', '.join(missing)} cannot be used: {damaged[0]} ({len(damaged)} damaged files "
                f"below {root}); deploy again, so that the weights dataset is whole")
    return (f"sealed weights of {', '.join(missing)} are not below {root}; attach the weights dataset in the version "
            "that this kernel was packed with")
