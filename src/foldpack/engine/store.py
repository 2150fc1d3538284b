"""Predictions of units on disk: what is finished is never computed twice, also not by the next process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.files import reserve_bytes, sync_path
from foldpack.predict.room import make_own_folder


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
    """One (n, C) float32 array a unit: `<key>.part` while its rows come in, `<key>.npy` once all are there.

    What finds no room in the folder goes to the spare one, where the next process does not look.
    """

    def __init__(self, folder: Path, rows: int, columns: int, spare: Path | None = None) -> None:
        """spare: folder for when there is no room."""
        self.folder = folder
        self.spare = spare
        self.shape = (rows, columns)

    def remove_halves(self) -> None:
        """Remove what no next process takes up, at the start and at the end: unfinished units, what lies in the spare
        folder, and folders that are empty then."""
        with contextlib.suppress(OSError):  # the folder may not be read, or changed
            for half in self.folder.glob("*.part"):
                half.unlink()
        self._remove_spare()
        with contextlib.suppress(OSError):  # finished units lie there
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def home(self, key: str) -> Path:
        """The folder that has a unit, or will have it."""
        spare = self.spare
        in_spare = spare is not None and any((spare / f"{key}.{ending}").exists() for ending in ("part", "npy"))
        return spare if spare is not None and in_spare else self.folder

    def path(self, key: str) -> Path:
        """Where the finished predictions of a unit lie."""
        return self.home(key) / f"{key}.npy"

    def part(self, key: str) -> Path:
        """Where its rows are collected."""
        return self.home(key) / f"{key}.part"

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

    def bytes_of(self, units: int) -> int:
        """Room that so many units take."""
        return units * (4 * self.shape[0] * self.shape[1] + 4096)

    def begin(self, key: str) -> Path:
        """Make room for a unit's rows. Returns the folder. Raises StoreError when there is none in either folder."""
        try:
            self.drop(key)
            self._begin(self.folder, key)
            return self.folder
        except OSError as failure:
            if self.spare is not None:
                with contextlib.suppress(OSError):
                    make_own_folder(self.spare.parent)
                    self._begin(self.spare, key)
                    return self.spare
            raise StoreError(f"{self.folder}: no room for predictions ({failure}); give --scratch another "
                             "disk") from None

    def _begin(self, folder: Path, key: str) -> None:
        """An empty array with all its blocks, in a folder for its owner only. A full disk is an OSError here, and no
        file is left."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = folder / f"{key}.part"
        free = shutil.disk_usage(folder).free
        needed = 4 * self.shape[0] * self.shape[1]
        if free < needed:
            raise OSError(28, f"{needed:,} bytes are needed, {free:,} are free")
        try:
            np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=self.shape).flush()
            descriptor = os.open(part, os.O_RDWR)
            try:
                reserve_bytes(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
        except OSError:
            part.unlink(missing_ok=True)
            raise

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
            os.replace(part, part.with_suffix(".npy"))
            sync_path(part.parent)
        return self.read(key)

    def drop(self, key: str) -> None:
        """Forget a unit, finished or not."""
        for path in (self.part(key), self.path(key)):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._remove_spare()

    def _remove_spare(self) -> None:
        if self.spare is not None and self.spare.is_dir() and not self.spare.parent.is_symlink():
            shutil.rmtree(self.spare, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.spare.parent.rmdir()
