"""Predictions of units on disk: what is finished is never computed twice, also not by the next process."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np

from foldpack.data.rows import Rows, open_rows, save_rows
from foldpack.engine.halves import DenseHalf, RaggedHalf
from foldpack.engine.layout import Dense, Layout
from foldpack.engine.work import Begun, Shard
from foldpack.errors import FoldpackError
from foldpack.predict.room import make_own_folder

WHOLE, HALF, FROZEN = ".rows", ".part", ".frozen"


class StoreError(FoldpackError):
    """Finished predictions cannot be kept."""


def unit_key(identity: dict[str, object]) -> str:
    """The name under which a unit's predictions are kept: a hash of everything that decides them. JSON-ready values."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:40]


def has_finished_units(folder: Path) -> bool:
    """Whether any unit was finished by a process before this one, of whatever kernel. folder: that of the store."""
    return any(folder.glob("*.rows"))


class UnitStore:
    """A folder a unit: `<key>.part` while its rows come in, `<key>.rows` once all are there.

    What finds no room in the folder goes to the spare one, where the next process does not look.
    """

    def __init__(self, folder: Path, layout: Layout, spare: Path | None = None) -> None:
        """spare: folder for when there is no room."""
        self.folder = folder
        self.spare = spare
        self.layout = layout

    def remove_halves(self, keys: Collection[str] = ()) -> None:
        """Remove what no next process takes up, at the start and at the end: unfinished units, but those among `keys`
        that have rows, what lies in the spare folder, and folders that are empty then."""
        with contextlib.suppress(OSError):  # the folder may not be read, or changed
            for half in self.folder.glob(f"*{HALF}"):
                if half.stem not in keys or not self._left(half.stem).any():
                    shutil.rmtree(half)
        self._remove_spare()
        with contextlib.suppress(OSError):  # units lie there
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def home(self, key: str) -> Path:
        """The folder that has a unit, or will have it."""
        spare = self.spare
        in_spare = spare is not None and any((spare / f"{key}{ending}").exists() for ending in (HALF, WHOLE))
        return spare if spare is not None and in_spare else self.folder

    def path(self, key: str) -> Path:
        """Where the finished predictions of a unit lie."""
        return self.home(key) / f"{key}{WHOLE}"

    def part(self, key: str) -> Path:
        """Where its rows are collected."""
        return self.home(key) / f"{key}{HALF}"

    def _half(self, key: str, home: Path | None = None) -> DenseHalf | RaggedHalf:
        """The unit's rows as far as they are there. home: where further ones go; None: where it has some."""
        first = (home or self.home(key)) / f"{key}{HALF}"
        if isinstance(self.layout, Dense):
            return DenseHalf(first, self.layout)
        every = [folder / f"{key}{HALF}" for folder in (self.folder, self.spare) if folder is not None]
        return RaggedHalf([first, *(each for each in every if each != first)], self.layout.rows)

    def finished(self, key: str) -> bool:
        """Whether whole, readable rows of the right layout are there."""
        try:
            return self.layout.fits(self.read(key))
        except FoldpackError:
            return False

    def read(self, key: str) -> Rows:
        """The rows of a finished unit, as read-only memory maps. Raises DataError."""
        return open_rows(self.path(key))

    def bytes_of(self, units: int) -> int:
        """Room that so many units take."""
        return units * (self.layout.unit_bytes + 4096)

    def begin(self, key: str) -> Begun:
        """Make room for a unit's rows, or take up those that an earlier process has left. Raises StoreError when there
        is no room in either folder."""
        if (views := self._left(key)).any():
            return Begun(self.folder, views)
        try:
            self.drop(key)
            self._reserve(self.folder, key)
            return Begun(self.folder, views)
        except OSError as failure:
            if self.spare is not None:
                with contextlib.suppress(OSError):
                    make_own_folder(self.spare.parent)
                    self._reserve(self.spare, key)
                    return Begun(self.spare, views)
            raise self._full(f"no room for predictions ({failure})") from None

    def _left(self, key: str) -> np.ndarray:
        """(n,) with how many views each row of a half was predicted; 0 for what is not there, or not to be trusted."""
        try:
            return self._half(key, self.folder).views()
        except (OSError, FoldpackError):
            return np.zeros(self.layout.rows, dtype=np.uint16)

    def _full(self, what: str) -> StoreError:
        return StoreError(f"{self.folder}: {what}; give --scratch another disk")

    def _reserve(self, folder: Path, key: str) -> None:
        """A half with all its room, in a folder for its owner only. A full disk is an OSError here, and nothing is
        left."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(folder).free
        needed = self.layout.unit_bytes
        if free < needed:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free")
        try:
            self._half(key, folder).reserve()
        except OSError:
            shutil.rmtree(folder / f"{key}{HALF}", ignore_errors=True)
            raise

    def write(self, key: str, shard: Shard, rows: Rows) -> None:
        """Keep the rows of a shard. Called by workers, also in other processes. Raises StoreError on a full disk."""
        try:
            return self._half(key).write(shard, rows)
        except OSError as failure:
            if self.spare is not None and not isinstance(self.layout, Dense):  # what was reserved has its place
                with contextlib.suppress(OSError):
                    make_own_folder(self.spare.parent)
                    return self._half(key, self.spare).write(shard, rows)
            raise self._full(f"predictions cannot be written ({failure})") from None

    def finish(self, key: str, keep: bool) -> Rows:
        """All rows are in. May be asked again. Dense rows are read-only memory maps.

        keep: as finished for the next process too; else only this one may use them.
        """
        if self.path(key).exists():
            return self.read(key)
        half = self._half(key)
        if not keep:
            return half.rows()
        try:
            half.publish(self.path(key))
        except OSError:
            if isinstance(half, DenseHalf):
                raise
            return half.rows()  # no room to join them: from its shards, and not for the next process
        self._drop_halves(key)
        return self.read(key)

    def freeze(self, key: str, rows: Rows) -> None:
        """Keep the result of a whole stage, which is never continued. A full disk costs only the keeping."""
        with contextlib.suppress(OSError):
            save_rows(self.folder / f"{key}{FROZEN}", rows)

    def frozen(self, key: str) -> Rows | None:
        """The result of the stage that an earlier process has frozen, if it has."""
        try:
            return open_rows(self.folder / f"{key}{FROZEN}")
        except FoldpackError:
            return None

    def drop(self, key: str) -> None:
        """Forget a unit, finished or not."""
        for folder in (self.folder, self.spare):
            if folder is not None and (folder / f"{key}{WHOLE}").exists():
                shutil.rmtree(folder / f"{key}{WHOLE}")
        self._drop_halves(key)

    def _drop_halves(self, key: str) -> None:
        for folder in (self.folder, self.spare):
            if folder is not None and (folder / f"{key}{HALF}").exists():
                shutil.rmtree(folder / f"{key}{HALF}")

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._remove_spare()

    def _remove_spare(self) -> None:
        if self.spare is not None and self.spare.is_dir() and not self.spare.parent.is_symlink():
            shutil.rmtree(self.spare, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.spare.parent.rmdir()
