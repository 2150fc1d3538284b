"""The one table between processes, rooms and the disk: named columns, a row an image, one entry or many in a row."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.files import atomic_path, sync_path

STARTS, LOST = "starts", "lost"
COLUMN, WITHIN = "column.", "within."  # what stands before a name in a file


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns of entries. Raises DataError for parts that do not fit together.

    Without `starts` each row has one entry. `lost` rows have no answer (no pixels, an error on this page, not reached),
    which is not the same as an answer of no entries.
    """

    columns: dict[str, np.ndarray]  # leading axis: entries; that of a column in `within`: parts of entries
    starts: np.ndarray | None = None  # (n + 1,) int64: where the entries of each row begin; None: one a row
    within: dict[str, np.ndarray] = field(default_factory=dict)  # (entries + 1,) int64: where the parts of each begin
    lost: np.ndarray | None = None  # (n,) bool; None: no row is lost

    def __post_init__(self) -> None:
        plain = [len(column) for name, column in self.columns.items() if name not in self.within]
        plain += [len(places) - 1 for places in self.within.values()]
        entries = int(self.starts[-1]) if self.starts is not None else plain[0] if plain else len(self)
        wrong = [f"{len(self.columns.get(name, ()))} parts of '{name}' for {int(places[-1])} in its entries"
                 for name, places in self.within.items() if len(self.columns.get(name, ())) != places[-1]]
        if any(length != entries for length in plain):
            wrong.append(f"columns of {plain} entries, {entries} in the rows")
        if self.lost is not None and len(self.lost) != len(self):
            wrong.append(f"{len(self.lost)} marks of lost rows for {len(self)} rows")
        if wrong:
            raise DataError(f"rows that do not fit together: {'; '.join(wrong)}")

    def __len__(self) -> int:
        """Number of rows, not of entries."""
        if self.starts is not None:
            return len(self.starts) - 1
        lengths = [len(column) for name, column in self.columns.items() if name not in self.within]
        lengths += [len(places) - 1 for places in self.within.values()]
        return lengths[0] if lengths else 0 if self.lost is None else len(self.lost)

    @property
    def entries(self) -> int:
        """Number of entries of all rows together."""
        return int(self.starts[-1]) if self.starts is not None else len(self)

    def take(self, rows: slice) -> Rows:
        """Consecutive rows, without copying a column."""
        first, end, _ = rows.indices(len(self))
        end = max(first, end)
        starts, lost = self.starts, None if self.lost is None else self.lost[first:end]
        if starts is not None:
            starts, first, end = starts[first : end + 1] - starts[first], int(starts[first]), int(starts[end])
        within = {name: places[first : end + 1] - places[first] for name, places in self.within.items()}
        reach = {name: slice(int(places[first]), int(places[end])) for name, places in self.within.items()}
        columns = {name: column[reach.get(name, slice(first, end))] for name, column in self.columns.items()}
        return Rows(columns, starts, within, lost)

    def pick(self, rows: slice | np.ndarray) -> Rows:
        """Rows in any order, by a slice without a copy. rows: (k,) int places or (n,) bool."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            return self.take(rows)
        chosen = np.arange(len(self))[rows]
        if self.starts is None and not self.within:
            return Rows({name: column[chosen] for name, column in self.columns.items()},
                        lost=None if self.lost is None else self.lost[chosen])
        return Rows.joined([self.take(slice(0, 0)), *(self.take(slice(row, row + 1)) for row in chosen.tolist())])

    def filled(self, lost: np.ndarray, other: Rows) -> Rows:
        """These rows with others in the place of those that are lost. lost: (n,) bool; other: n rows."""
        if not lost.any():
            return self
        edges = [0, *(np.flatnonzero(np.diff(lost)) + 1).tolist(), len(self)]
        return Rows.joined([(other if lost[first] else self).take(slice(first, end))
                            for first, end in zip(edges[:-1], edges[1:], strict=True)])

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Rows of the same columns behind each other. Raises DataError for other columns, ValueError for no parts."""
        if not parts:
            raise ValueError("no rows to join")
        first = parts[0]
        shape = set(first.columns), set(first.within), first.starts is None
        if strange := [each for each in parts if (set(each.columns), set(each.within), each.starts is None) != shape]:
            raise DataError(f"rows of columns {sorted(strange[0].columns)} cannot follow those of "
                            f"{sorted(first.columns)}")
        columns = {name: np.concatenate([each.columns[name] for each in parts]) for name in first.columns}
        within = {name: _joined_starts([each.within[name] for each in parts]) for name in first.within}
        starts = _joined_starts([each.starts for each in parts if each.starts is not None])
        lost = None
        if any(each.lost is not None for each in parts):
            lost = np.concatenate([np.zeros(len(each), dtype=bool) if each.lost is None else each.lost
                                   for each in parts])
        return Rows(columns, None if first.starts is None else starts, within, lost)


def _joined_starts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Where entries begin when parts follow each other; every part begins at 0."""
    counts = [np.diff(places) for places in parts]
    return np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, dtype=np.int64), *counts]))]).astype(np.int64)


def save_rows(path: Path, rows: Rows) -> None:
    """Write rows as a whole or not at all: one file where the name ends in `.npz`, else a folder of `.npy`.

    A folder's columns can be memory-mapped. One that is there is replaced.
    """
    arrays = {COLUMN + name: column for name, column in rows.columns.items()}
    arrays |= {WITHIN + name: places for name, places in rows.within.items()}
    arrays |= {} if rows.starts is None else {STARTS: rows.starts}
    arrays |= {} if rows.lost is None else {LOST: rows.lost}
    if path.suffix == ".npz":
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        return
    with _new_folder(path) as folder:
        for name, array in arrays.items():
            with open(folder / f"{name}.npy", "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
            sync_path(folder / f"{name}.npy")


def save_views(path: Path, views: Sequence[Rows]) -> None:
    """Write the rows of each view below `path`, all or none: `view0`, `view1` and so on."""
    with _new_folder(path) as folder:
        for number, rows in enumerate(views):
            save_rows(folder / f"view{number}", rows)


def open_views(path: Path) -> list[Rows]:
    """What `save_views` wrote, as read-only memory maps. Raises DataError."""
    count = sum(each.name.startswith("view") for each in path.iterdir()) if path.is_dir() else 0
    return [open_rows(path / f"view{number}") for number in range(count)]


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the place of `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, mode=0o700)
    try:
        yield temporary
        sync_path(temporary)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        sync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_rows(path: Path) -> Rows:
    """What `save_rows` wrote; the columns of a folder stay on disk, as read-only memory maps. Raises DataError."""
    try:
        if path.is_dir():
            files = sorted(path.glob("*.npy"))
            arrays = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}
        else:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as failure:
        raise DataError(f"{path}: cannot read the rows ({failure}); remove it and run again") from None
    columns, within = ({name.removeprefix(kind): arrays[name] for name in arrays if name.startswith(kind)}
                       for kind in (COLUMN, WITHIN))
    return Rows(columns, arrays.get(STARTS), within, arrays.get(LOST))
