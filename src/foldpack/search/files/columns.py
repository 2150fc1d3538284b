"""What a column is for: ids, folds, counters and targets are no classes; ids say which row is which.

A name alone decides little: a class may be called "fold" or "label". So a column is only skipped when its numbers fit
its name, and what is skipped is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.search.files.column_names import (
    FOLD_NAMES,
    ID_NAMES,
    MAYBE_CLASSES,
    TARGET_NAMES,
    is_counter_name,
    is_id_name,
    plain_name,
)
from foldpack.search.files.tables import RawTable

STRONG = 2  # strength of an id column from which it counts by itself, without an equal in another file


@dataclass(frozen=True)
class IdColumn:
    """A column that could be the ids. strength: 3 called so, 2 text, 1 an index or counter, 0 whole numbers."""

    name: str
    values: list[str]
    strength: int

    @property
    def counts_rows(self) -> bool:
        """Whether it is 0..n-1 or 1..n, in any order."""
        numbers = [int(one) for one in self.values if re.fullmatch(r"0|[1-9]\d*", one)]
        return len(numbers) == len(self.values) > 0 and sorted(numbers) in (
            list(range(len(numbers))), list(range(1, len(numbers) + 1)))

    @property
    def in_order(self) -> bool:
        return self.counts_rows and all(int(a) < int(b) for a, b in pairwise(self.values))


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers or booleans."""
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def numbers_of(column: pd.Series) -> np.ndarray:
    """(n,) float64 of a column of numbers; what is missing is NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def is_whole(column: pd.Series) -> bool:
    """Whether all that is there are whole numbers."""
    values = numbers_of(column)
    values = values[~np.isnan(values)]
    return bool(np.all(values == np.round(values)))


def is_counter(name: str, column: pd.Series) -> bool:
    """Called like an index, or counting the rows from 0 or 1."""
    if not is_number(column) or not is_whole(column):
        return False
    values = numbers_of(column)
    counts = len(values) > 2 and any(np.array_equal(values, np.arange(first, first + len(values))) for first in (0, 1))
    return counts or is_counter_name(name)


def is_fold(name: str, column: pd.Series) -> bool:
    """Called like folds, and whole numbers."""
    return plain_name(name) in FOLD_NAMES and is_number(column) and is_whole(column)


def id_columns(raw: RawTable, skip: frozenset[str] = TARGET_NAMES) -> list[IdColumn]:
    """Every column of a table that could be its ids, the likeliest first. skip: plain names that never are.

    A column that repeats itself is none, unless it is called like one and stands alone: then ids are doubled.
    """
    found, doubled = [], []
    for name in [] if raw.frame is None else raw.frame.columns:
        assert raw.frame is not None
        column = raw.frame[name]
        text = not is_number(column)
        whole = pd.api.types.is_integer_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not (text or whole) or plain_name(name) in skip or is_fold(name, column):
            continue
        called = is_id_name(name)
        if text and not called and _is_spoilt(column):
            continue
        if not column.is_unique:
            if plain_name(name) in ID_NAMES - MAYBE_CLASSES:
                doubled.append(IdColumn(name, column.astype(str).tolist(), 3))
            continue
        counter = not text and (is_counter_name(name) or (name in raw.index and not called))
        strength = 1 if counter else 3 if called else 2 if text else 0
        if strength or len(column) > 2:
            found.append(IdColumn(name, column.astype(str).tolist(), strength))
    found.sort(key=lambda one: -one.strength)
    return found if found and found[0].strength >= STRONG else doubled + found


def _is_spoilt(column: pd.Series) -> bool:
    """Whether a column of text is one of numbers with a point that has something strange in it."""
    if not 0.5 < pd.to_numeric(column, errors="coerce").notna().mean() < 1:
        return False
    return bool(column.astype(str).str.contains(r"\d\.\d|e-?\d", regex=True).mean() > 0.5)


def pick_ids(columns: list[IdColumn], wanted: list[str] | None, name: str | None = None) -> IdColumn | None:
    """The column that holds the wanted ids; else the one of the same name, or the likeliest; None where there is none.

    wanted: ids of the labels, or None: then the likeliest. An index alone never stands against other ids.
    """
    if wanted is not None:
        there = set(wanted)
        equal = [one for one in columns if len(one.values) == len(wanted) and set(one.values) == there]
        if equal:
            return next((one for one in equal if one.name == name), equal[0])
    same = [one for one in columns if one.name == name and one.strength]
    strong = [one for one in columns if one.strength >= STRONG]
    return next(iter(same + strong), None)


def pick_own_ids(columns: list[IdColumn], others: list[list[IdColumn]]) -> IdColumn | None:
    """The ids of the labels: of what could be, the likeliest that another file shares; else the likeliest, or None."""
    sets = [set(one.values) for other in others for one in other]
    for one in columns:
        own = set(one.values)
        if any(_shares(own, other, one.strength) for other in sets):
            return one
    return next((one for one in columns if one.strength >= STRONG), None)


def _shares(own: set[str], other: set[str], strength: int) -> bool:
    if strength < STRONG:  # numbers of rows are alike everywhere
        return bool(other) and other <= own
    return 2 * len(own & other) >= min(len(own), len(other)) > 0


def require_known_order(columns: list[IdColumn], path: object) -> None:
    """Raises DataError for a table without ids whose index says that its rows were put into another order."""
    for one in columns:
        if one.strength and one.counts_rows and not one.in_order:
            raise DataError(f"{path}: column {one.name!r} counts the rows in another order (the first is "
                            f"{one.values[0]}), and the labels have no such column; sort by it, or give "
                            "the labels ids")


def row_order(ids: list[str], wanted: list[str], path: object, against: object) -> np.ndarray:
    """(n,) int: the row of each wanted id. Raises DataError for an id that is missing, too many or doubled."""
    if ids == wanted:
        return np.arange(len(ids))
    for one, where in ((ids, path), (wanted, against)):
        if (index := pd.Index(one)).has_duplicates:
            raise DataError(f"{where}: id {index[index.duplicated()][0]!r} occurs twice; give each item one row")
    index = pd.Index(ids)
    order = index.get_indexer(pd.Index(wanted))
    if (order < 0).any():
        lost = [one for one, place in zip(wanted, order, strict=True) if place < 0]
        raise DataError(f"{path}: {len(lost)} of {len(wanted)} ids of {against} are missing, for example "
                        f"{lost[0]!r}; here an id is like {ids[0]!r}{_ids_hint(lost[0], index)}")
    if len(ids) > len(wanted):
        known = set(wanted)
        more = next(one for one in ids if one not in known)
        raise DataError(f"{path}: {len(ids) - len(wanted)} ids are not in {against}, for example {more!r}; leave their "
                        "rows out")
    return order


def _ids_hint(lost: str, ids: pd.Index) -> str:
    some = ids[:1000]
    if lost.lstrip("0") in {one.lstrip("0") for one in some}:
        return "; they seem to have lost their zeros: keep ids as text"
    if lost.lower() in {one.lower() for one in some}:
        return "; they differ in capital letters: write them alike"
    if PurePath(lost).stem in {PurePath(one).stem for one in some}:
        return "; they differ in their folder or ending: write them alike"
    return ""
