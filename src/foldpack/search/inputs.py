"""Read anyone's predictions: .npy, .npz, .csv, .parquet or HDF5, one file a member or one a fold."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.files import sha256_file

READABLE = (".npy", ".npz", ".csv", ".parquet", ".h5", ".hdf5")
# The number of a fold in a file's name: after "fold", "f" or nothing, between anything that is no letter or digit.
FOLD_NUMBER = re.compile(r"(?<![A-Za-z0-9])(fold[-_]?|f|)(\d{1,2})(?![A-Za-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """One file or several folds' files. values: (n,) or (n, C); ids: (n,) text, or None where a file has none."""

    values: np.ndarray
    ids: list[str] | None
    files: tuple[Path, ...]

    def digest(self) -> str:
        """SHA-256 of the file, or of the digests of all its folds' files in order."""
        digests = [sha256_file(path) for path in self.files]
        return digests[0] if len(digests) == 1 else _text_digest("".join(digests))


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def is_prediction_file(name: str) -> bool:
    """Whether an argument names a file rather than a run."""
    return Path(name).suffix.lower() in READABLE


def read_table(path: Path) -> Table:
    """Read one file. A first column that is text, or called id, is the ids. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise DataError(f"{path}: cannot read a {suffix or 'file without an ending'}; give {', '.join(READABLE)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        if suffix == ".npy":
            return Table(np.load(path, allow_pickle=False), None, (path,))
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return Table(archive[archive.files[0]], None, (path,))
        frame = _read_frame(path, suffix)
    except ImportError as failure:
        raise DataError(f"{path}: {failure}; install it, or save the array as .npy") from None
    except (OSError, ValueError, KeyError, IndexError) as failure:
        raise DataError(f"{path}: cannot read it ({failure})") from None
    return _split_ids(frame, path)


def _read_frame(path: Path, suffix: str) -> pd.DataFrame:
    if suffix == ".csv":
        return pd.read_csv(path, keep_default_na=True, low_memory=False)
    if suffix == ".parquet":
        return pd.read_parquet(path)
    try:
        stored = pd.read_hdf(path)
    except ValueError:  # not written by pandas
        return pd.DataFrame(_hdf5_array(path))
    return stored.to_frame() if isinstance(stored, pd.Series) else pd.DataFrame(stored)


def _hdf5_array(path: Path) -> np.ndarray:
    """The only array of a plain HDF5 file. Raises ValueError."""
    import tables

    with tables.open_file(str(path)) as file:
        arrays = [node for node in file.walk_nodes("/", "Array") if node.ndim in (1, 2)]
        if len(arrays) != 1:
            names = ", ".join(node._v_pathname for node in arrays) or "none"
            raise ValueError(f"it must hold one table of pandas, or one array of 1 or 2 dimensions; it holds {names}")
        return np.asarray(arrays[0].read())


def _split_ids(frame: pd.DataFrame, path: Path) -> Table:
    ids = None
    first = frame.columns[0]
    if str(first).lower() in ("id", "image_id", "item_id") or not pd.api.types.is_numeric_dtype(frame[first]):
        ids, frame = frame[first].astype(str).tolist(), frame.drop(columns=first)
    elif frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex):
        ids = frame.index.astype(str).tolist()
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column]):
            raise DataError(f"{path}: column {column!r} holds text; after the ids only numbers are read")
    values = frame.to_numpy()
    return Table(values[:, 0] if values.shape[1] == 1 else values, ids, (path,))


def fold_siblings(path: Path) -> list[tuple[int, Path]]:
    """(fold, file) of all files beside this one whose names differ only in the fold's number; empty without one.

    "a.f0.npy" finds "a.f1.npy"; of several numbers in a name the last that has siblings counts.
    """
    for found in reversed(list(FOLD_NUMBER.finditer(path.name))):
        head, tail = path.name[: found.start(2)], path.name[found.end(2) :]
        pattern = re.compile(re.escape(head) + r"(\d{1,2})" + re.escape(tail))
        beside = [(match, other) for other in path.parent.iterdir() if (match := pattern.fullmatch(other.name))]
        if len(beside) > 1:
            return sorted((int(match[1]), other) for match, other in beside)
    return []


def read_member(path: Path, folds: np.ndarray | None, rows: int) -> Table:
    """One member's predictions for all rows, its folds' files put together where `folds` says.

    folds: (rows,) int, needed for a member in several files; rows: how many the labels have. Raises DataError.
    """
    table = read_table(path)
    if len(table.values) == rows:
        return table
    siblings = fold_siblings(path)
    if not siblings:
        raise DataError(f"{path}: {len(table.values)} rows, the labels have {rows}; and no files of other folds lie "
                        "beside it")  # fmt: skip
    if folds is None:
        raise DataError(f"{path}: one of {len(siblings)} folds; say with --folds which row belongs to which fold")
    parts = {fold: read_table(other) for fold, other in siblings}
    missing = sorted(set(np.unique(folds).tolist()) - set(parts))
    if missing:
        raise DataError(f"{path}: no file for fold {missing[0]} beside it; found folds {sorted(parts)}")
    values = np.full((rows, *table.values.shape[1:]), np.nan)
    ids = [""] * rows
    for fold in np.unique(folds).tolist():
        where = np.flatnonzero(folds == fold)
        part = parts[fold]
        if part.values.shape != (len(where), *table.values.shape[1:]):
            raise DataError(f"{part.files[0]}: shape {part.values.shape}, fold {fold} has {len(where)} rows of shape "
                            f"{table.values.shape[1:]}")  # fmt: skip
        values[where] = part.values
        for place, one in zip(where, part.ids or [], strict=False):
            ids[place] = one
    with_ids = ids if all(ids) else None
    return Table(values, with_ids, tuple(other for _, other in siblings))


def align(table: Table, ids: list[str] | None, what: str) -> np.ndarray:
    """The values in the order of `ids`. Without ids on either side the order is taken as it is. Raises DataError."""
    if ids is None or table.ids is None or table.ids == ids:
        return table.values
    place = {one: row for row, one in enumerate(table.ids)}
    if len(place) != len(table.ids):
        raise DataError(f"{what}: an id occurs twice, for example {_first_double(table.ids)!r}")
    missing = [one for one in ids if one not in place]
    if missing:
        raise DataError(f"{what}: {len(missing)} of {len(ids)} ids have no prediction, for example {missing[0]!r}")
    return table.values[[place[one] for one in ids]]


def _first_double(ids: list[str]) -> str:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return ""
