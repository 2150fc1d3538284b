"""Units whose rows come in, on disk: written by any process, and taken up by the next one after a kill."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldpack.data.rows import COLUMN, LOST, STARTS, Rows, open_rows, save_rows
from foldpack.engine.layout import Dense
from foldpack.engine.work import Shard
from foldpack.files import reserve_bytes, sync_path

MARKS = "views"  # file of a dense half: which start of the machine, then with how many views each row was predicted
MARK = np.uint16  # 0: not yet


def boot_id() -> bytes:
    """What tells this start of the machine from another; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""


class DenseHalf:
    """A folder of arrays with all their blocks, in which rows are written in their place."""

    def __init__(self, folder: Path, layout: Dense) -> None:
        self.folder = folder
        self.layout = layout

    def reserve(self) -> None:
        """Make the folder. A full disk is an OSError here, not later."""
        layout = self.layout
        self.folder.mkdir(parents=True, mode=0o700)
        if layout.starts is not None:
            np.save(self.folder / f"{STARTS}.npy", layout.starts, allow_pickle=False)
        kinds = {COLUMN + name: (kind.dtype, (layout.entries, *kind.shape)) for name, kind in layout.columns.items()}
        for name, (dtype, shape) in {**kinds, LOST: ("bool", (layout.rows,))}.items():
            file = self.folder / f"{name}.npy"
            np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(dtype), shape=shape).flush()
            reserve_file(file, file.stat().st_size)
        (self.folder / MARKS).write_bytes(boot_id())
        reserve_file(self.folder / MARKS, len(boot_id()) + layout.rows * np.dtype(MARK).itemsize)

    def views(self) -> np.ndarray:
        """(n,) with how many views each row was predicted. Raises OSError or FoldpackError for no such half, and for
        one of before the machine was started again: what is written in place may not have reached the disk."""
        found, boot = (self.folder / MARKS).read_bytes(), boot_id()
        marks = np.frombuffer(found[len(boot) :], dtype=MARK) if boot and found.startswith(boot) else np.zeros(0, MARK)
        if len(marks) != self.layout.rows or not self.layout.fits(self.rows()):
            raise OSError(errno.ESTALE, "not what was begun", str(self.folder))
        return marks

    def write(self, shard: Shard, rows: Rows) -> None:
        """Put rows in their place. Raises OSError.

        Not through a memory map: on a full disk that would end the process by a signal, not by an error. The marks are
        taken away before and set after, so that a row that is marked is whole.
        """
        count = shard.stop - shard.start
        lost = np.zeros(count, dtype=bool) if rows.lost is None else rows.lost
        write_at(self.folder / MARKS, shard.start, np.zeros(count, dtype=MARK), self.layout.rows)
        for name, kind in self.layout.columns.items():
            data = np.ascontiguousarray(rows.columns[name], dtype=kind.dtype)
            write_at(self.folder / f"{COLUMN}{name}.npy", self.layout.entry(shard.start), data, self.layout.entries)
        write_at(self.folder / f"{LOST}.npy", shard.start, lost, self.layout.rows)
        write_at(self.folder / MARKS, shard.start, np.full(count, shard.views, dtype=MARK), self.layout.rows)

    def rows(self) -> Rows:
        """All rows, as memory maps."""
        return open_rows(self.folder)

    def publish(self, path: Path) -> None:
        """All rows are there for good: they get another name, and survive a power cut."""
        for file in self.folder.glob("*.npy"):
            sync_path(file)
        os.replace(self.folder, path)
        sync_path(path.parent)
        (path / MARKS).unlink()


class RaggedHalf:
    """Folders of files, one a shard, named by its rows and views; each is whole or not there."""

    def __init__(self, folders: Sequence[Path], count: int) -> None:
        """folders: where shards may lie; the first is written to. count: of rows."""
        self.folders = folders
        self.count = count

    def reserve(self) -> None:
        """Make the folder."""
        self.folders[0].mkdir(parents=True, mode=0o700)

    def _shards(self) -> dict[int, tuple[int, int, Path]]:
        """By first row: stop, views and file; of several files those of the most views."""
        found = []
        for file in (file for folder in self.folders for file in folder.glob("[0-9]*.npz")):
            start, stop, views = map(int, file.stem.split("-"))
            found.append((views, start, stop, file))
        return {start: (stop, views, file) for views, start, stop, file in sorted(found)}

    def views(self) -> np.ndarray:
        """(n,) with how many views each row was predicted."""
        marks = np.zeros(self.count, dtype=MARK)
        for start, (stop, views, _) in self._shards().items():
            marks[start:stop] = views
        return marks

    def write(self, shard: Shard, rows: Rows) -> None:
        """Write a shard's file. Raises OSError."""
        self.folders[0].mkdir(parents=True, exist_ok=True, mode=0o700)
        before = [file for folder in self.folders for file in folder.glob(f"{shard.start}-*.npz")]
        made = self.folders[0] / f"{shard.start}-{shard.stop}-{shard.views}.npz"
        save_rows(made, rows)
        for file in before:
            if file != made:
                file.unlink(missing_ok=True)

    def rows(self) -> Rows:
        """All rows, in memory. Raises DataError for a shard that cannot be read."""
        return Rows.joined([open_rows(file) for _, (_, _, file) in sorted(self._shards().items())])

    def publish(self, path: Path) -> None:
        """All rows are there for good: they are joined in a folder that can be memory-mapped."""
        save_rows(path, self.rows())


def reserve_file(file: Path, size: int) -> None:
    """Give a file its length and its blocks. Raises OSError."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        reserve_bytes(descriptor, size)
    finally:
        os.close(descriptor)


def write_at(file: Path, first: int, data: np.ndarray, count: int) -> None:
    """Write entries of a file that ends with `count` of them, from the `first` on. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        entry = data.itemsize * math.prod(data.shape[1:])
        place = os.fstat(descriptor).st_size - (count - first) * entry
        if data.nbytes and os.pwrite(descriptor, data.data, place) != data.nbytes:
            raise OSError(errno.ENOSPC, "no space left for predictions")
    finally:
        os.close(descriptor)
