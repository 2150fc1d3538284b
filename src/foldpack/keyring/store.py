"""Sealed files together with the keyring that holds their keys: seal, open and verify files and folders."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from foldpack.keyring.keyring import Keyring
from foldpack.sealed.container import new_data_key, open_sealed, read_sealed_header, seal_file, verify_sealed
from foldpack.sealed.errors import SealedWriteError, SealSourceError, UnreadableSealedError
from foldpack.sealed.format import SealedInfo

SEALED_SUFFIX = ".sealed"  # Kaggle unpacks archives it knows by suffix; it does not know this one
SEALABLE_SUFFIXES = (".safetensors", ".txt", ".json", ".ubj")  # weights; boosters of LightGBM and XGBoost

Progress = Callable[[int], None]


def opaque_name(file_id: bytes) -> str:
    """A file name that tells nothing about the model."""
    return file_id.hex() + SEALED_SUFFIX


def role_of(source: Path, folder: Path | None = None) -> str:
    """The role a file gets when none is asked for: its path below `folder`, or its name, without `.safetensors`."""
    place = source.relative_to(folder) if folder else Path(source.name)
    return place.as_posix().removesuffix(".safetensors")


def sealable_files(folder: Path) -> list[Path]:
    """The files below `folder` that can be sealed, sorted. Raises SealSourceError when there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in SEALABLE_SUFFIXES and path.is_file())
    if not found:
        raise SealSourceError(f"{folder}: nothing to seal; want files that end in {', '.join(SEALABLE_SUFFIXES)}")
    return found


def sealed_files(path: Path) -> list[Path]:
    """`path` itself, or all sealed files below it. Raises UnreadableSealedError when there are none."""
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("*" + SEALED_SUFFIX))
    if not found:
        raise UnreadableSealedError(f"{path}: no file that ends in {SEALED_SUFFIX}; seal some with `foldpack seal`")
    return found


def seal_with_keyring(
    source: Path,
    target: Path,
    role: str,
    *,
    keyring: Path | None = None,
    ask_passphrase: Callable[[], str] | None = None,
    progress: Progress | None = None,
) -> tuple[Path, SealedInfo]:
    """Seal one file under a new key, which is in the keyring before the file appears -> where it lies, its header.

    `target`: a file that ends in `.sealed`, or a folder, in which the file gets an opaque name. Raises SealedError.
    """
    if target.suffix not in ("", SEALED_SUFFIX) and not target.is_dir():
        raise SealedWriteError(f"{target}: a sealed file ends in {SEALED_SUFFIX}; name it so, or give a folder")
    Keyring.load(keyring, ask_passphrase)  # a wrong passphrase is told before the work, not after
    file_id, key = secrets.token_bytes(16), new_data_key()
    place = target if target.suffix == SEALED_SUFFIX else target / opaque_name(file_id)

    def keep_key(info: SealedInfo) -> None:
        with Keyring.editing(keyring, ask_passphrase) as ring:
            ring.add(info.file_id, key, role, info.header_sha256)

    return place, seal_file(source, place, key, role, file_id=file_id, progress=progress, before_publish=keep_key)


def open_with_keyring(path: Path, target: Path, ring: Keyring, *, progress: Progress | None = None) -> SealedInfo:
    """Decrypt one file to `target`, with the key, role and pinned hash that the keyring has for it."""
    entry = ring.entry(read_sealed_header(path).file_id)
    key, pin = ring.data_key(entry.file_id), entry.header_sha256 or None
    return open_sealed(path, target, key, entry.label, pin, progress=progress)


def verify_with_keyring(path: Path, ring: Keyring, *, progress: Progress | None = None) -> SealedInfo:
    """Check every byte of one file, with the key, role and pinned hash that the keyring has for it."""
    entry = ring.entry(read_sealed_header(path).file_id)
    key, pin = ring.data_key(entry.file_id), entry.header_sha256 or None
    return verify_sealed(path, key, entry.label, pin, progress=progress)


def open_targets(path: Path, target: Path, ring: Keyring) -> Iterator[tuple[Path, Path]]:
    """What to open and where to: one file to `target`, or each file of a folder to its role below `target`."""
    if not path.is_dir():
        yield path, target
        return
    for sealed in sealed_files(path):
        role = Path(ring.entry(read_sealed_header(sealed).file_id).label)
        if role.is_absolute() or ".." in role.parts:
            raise UnreadableSealedError(f"{sealed}: role '{role}' would lead out of {target}; open this file by itself")
        suffix = "" if role.suffix in SEALABLE_SUFFIXES else ".safetensors"
        yield sealed, target / (role.as_posix() + suffix)
