"""Predictions of units on disk: what is finished is never computed twice, also not by the next process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.files import sync_path


class StoreError(FoldpackError):
    """Finished predictions cannot be kept."""


def unit_key(identity: dict[str, object]) -> str:
    """The name under which a unit's predictions are kept: a hash of everything that decides them. JSON-ready values."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:40]


def has_finished_units(folder: Path) -> bool:
    """Whether any unit was finished by a process before this one, of whatever kernel. folder: that of the store."""
    return any(folder.glob("*.npy"))


class UnitStore:
    """One (n, C) float32 array a unit: `<key>.part` while its rows come in, `<key>.npy` once all are there."""

    def __init__(self, folder: Path, rows: int, columns: int) -> None:
        self.folder = folder
        self.shape = (rows, columns)

    def prepare(self) -> None:
        """Make the folder, for its owner only, and remove what an earlier process left half done."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for half in self.folder.glob("*.part"):
            half.unlink()

    def path(self, key: str) -> Path:
        """Where the finished predictions of a unit lie."""
        return self.folder / f"{key}.npy"

    def part(self, key: str) -> Path:
        """Where its rows are collected."""
        return self.folder / f"{key}.part"

    def finished(self, key: str) -> bool:
        """Whether a whole, readable array of the right shape is there."""
        try:
            found = self.read(key)
        except (OSError, ValueError, EOFError):
            return False
        return found.shape == self.shape and found.dtype == np.float32

    def read(self, key: str) -> np.ndarray:
        """(n, C) float32, read-only memory map."""
        return np.load(self.path(key), mmap_mode="r", allow_pickle=False)

    def begin(self, key: str) -> None:
        """Make room for a unit's rows. Raises StoreError when there is none."""
        try:
            free = shutil.disk_usage(self.folder).free
            needed = 4 * self.shape[0] * self.shape[1]
            if free < needed:
                raise OSError(28, f"{needed:,} bytes are needed, {free:,} are free")
            np.lib.format.open_memmap(self.part(key), mode="w+", dtype=np.float32, shape=self.shape).flush()
            self._reserve(self.part(key))
        except OSError as failure:
            raise StoreError(f"{self.folder}: no room for predictions ({failure}); give --scratch another "
                             "disk") from None

    def _reserve(self, path: Path) -> None:
        """Take the file's blocks now: a full disk is an error here, and not in the midst of the work."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
        except OSError as failure:
            if failure.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot; `write` will tell
                raise
        finally:
            os.close(descriptor)

    def write(self, key: str, start: int, values: np.ndarray) -> None:
        """Put rows in their place. values: (k, C) float32. Called by workers, also in other processes.

        Not through a memory map: on a full disk that would end the process by a signal, not by an error.
        """
        data = np.ascontiguousarray(values, dtype=np.float32)
        descriptor = os.open(self.part(key), os.O_WRONLY)
        try:
            rows_bytes = 4 * self.shape[0] * self.shape[1]
            place = os.fstat(descriptor).st_size - rows_bytes + 4 * start * self.shape[1]
            if data.nbytes and os.pwrite(descriptor, data.data, place) != data.nbytes:
                raise OSError(28, "no space left for predictions")
        except OSError as failure:
            raise StoreError(f"{self.folder}: predictions cannot be written ({failure}); give --scratch another "
                             "disk") from None
        finally:
            os.close(descriptor)

    def finish(self, key: str, keep: bool) -> np.ndarray:
        """All rows are in: (n, C) float32, read-only memory map. May be asked again.

        keep: as finished for the next process too; else only this one may use them.
        """
        part = self.part(key)
        if not keep:
            return np.load(part, mmap_mode="r", allow_pickle=False)
        if not self.path(key).exists():
            sync_path(part)
            os.replace(part, self.path(key))
            sync_path(self.folder)
        return self.read(key)

    def drop(self, key: str) -> None:
        """Forget a unit whose rows will not all come in."""
        self.part(key).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
