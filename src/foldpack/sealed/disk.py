"""The disk side of sealed files: opening, reading, writing, and the errors that disks make."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from foldpack.sealed.errors import (
    SealedDiskFullError,
    SealedError,
    SealedWriteError,
    SealSourceError,
    UnreadableSealedError,
)
from foldpack.sealed.format import SEALED_AGAIN

SEALED_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@contextmanager
def open_for_sealing(path: Path) -> Iterator[FileIO]:
    """Open for unbuffered reading; only a regular file, without waiting for a pipe."""
    try:
        file = open(path, "rb", buffering=0, opener=_open_without_waiting)
    except OSError as failure:
        raise UnreadableSealedError(
            f"{path}: cannot be opened ({failure.strerror}); check the path and its permissions"
        ) from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadableSealedError(f"{path}: not a regular file; give the path of one file")
        yield file


def _open_without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would otherwise wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open_privately(path: str, flags: int) -> int:
    """For the owner only from the first moment."""
    return os.open(path, flags, 0o600)


def fill_sealed(file: FileIO, view: memoryview, path: Path) -> int:
    """Read until the view is full or the file ends -> bytes read."""
    done = 0
    try:
        while done < len(view) and (count := file.readinto(view[done:])):
            done += count
    except OSError as failure:
        raise UnreadableSealedError(
            f"{path}: the disk failed while reading ({failure.strerror}); {SEALED_AGAIN}"
        ) from None
    return done


def read_sealed_start(file: FileIO, size: int, path: Path) -> bytes:
    """At most `size` bytes; fewer only at the end of the file."""
    buffer = bytearray(size)
    return bytes(buffer[: fill_sealed(file, memoryview(buffer), path)])


@contextmanager
def open_seal_source(source: Path) -> Iterator[FileIO]:
    """Open what is to be sealed; refuse what is empty or a pickle."""
    with open_for_sealing(source) as file:
        start = read_sealed_start(file, 9, source)
        if not start:
            raise SealSourceError(f"{source}: the file is empty, nothing to seal; write it again")
        # A safetensors header of 640 bytes begins like a pickle; after its size comes the brace of its JSON.
        safetensors = start[4:] == b"\0\0\0\0{"
        if start.startswith(SEALED_PICKLE_STARTS) and not safetensors:
            raise SealSourceError(
                f"{source}: a pickle or zip archive, which is never sealed; make it safetensors with `foldpack convert`"
            )
        file.seek(0)
        yield file


@contextmanager
def sealed_writing(target: Path, size: int) -> Iterator[None]:
    """Turn the system's errors about writing `target` into ours."""
    try:
        yield
    except OSError as failure:
        raise _sealed_write_failure(failure, target, size) from None


def _sealed_write_failure(failure: OSError, target: Path, size: int) -> SealedError:
    """Disk full, or whatever else the system says."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return SealedDiskFullError(
            f"{target}: no room for {size:,} bytes ({failure.strerror}); free some, or choose another folder"
        )
    return SealedWriteError(f"{target}: cannot be written ({failure.strerror}); check the folder and its permissions")


def create_private_file(path: Path) -> FileIO:
    """A new file for its owner only; `atomic_path` sets the final mode."""
    return open(path, "wb", buffering=0, opener=_open_privately)


def write_whole(file: FileIO, data: memoryview | bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sweep_sealed_leftovers(target: Path) -> None:
    """Remove the temporary files that killed processes left beside `target`."""
    if not target.parent.is_dir():
        return
    for leftover in target.parent.iterdir():
        if not (leftover.name.startswith(f".{target.name}.") and leftover.name.endswith(".tmp")):
            continue
        process = leftover.name[len(target.name) + 2 : -len(".tmp")]
        if process.isdigit() and not os.path.exists(f"/proc/{process}"):
            leftover.unlink(missing_ok=True)
