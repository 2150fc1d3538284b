"""Files that are either old or new, never half: temporary file, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A temporary path in the same folder; renamed over `path` when the block ends well, removed when it does not.

    The folder is made when missing. The block must have created the temporary file by its end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        sync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Make what a file holds, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve_bytes(descriptor: int, size: int) -> None:
    """Give an open file its length and take its blocks now: a full disk is an OSError here, not in midst of the work.

    A file system that cannot reserve only gives the length; there a write tells.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as failure:
        if failure.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.truncate(descriptor, size)


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write bytes, or text as UTF-8, in one step that other processes see as a whole.

    With a mode that keeps others out (0o600), the temporary file is never readable by them either.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path, mode) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def link_or_copy(source: str | Path, target: str | Path) -> str | Path:
    """A hard link at `target` to the file that `source` means, or a copy where the disk allows no link -> `target`."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
    return target


def failure_words(failure: Exception) -> str:
    """Why a file could not be read: the system's words without number and path, else those of the error."""
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)


def sha256_folder(path: Path) -> str:
    """Hex SHA-256 over the names and digests of all files below a folder."""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = [f"{each.relative_to(path).as_posix()} {sha256_file(each)}\n" for each in files]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
