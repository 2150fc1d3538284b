"""Folds and groups of the rows: made, or from a file whose rows go by id."""

from __future__ import annotations

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.search.files.column_names import COUNTER_NAMES, FOLD_NAMES, GROUP_NAMES, TARGET_NAMES, plain_name
from foldpack.search.files.columns import is_counter, is_number, numbers_of
from foldpack.search.files.inputs import in_order
from foldpack.search.files.labels import Truth
from foldpack.search.files.tables import RawTable

RANDOM_FOLDS = 5  # where no folds are given


def make_folds(rows: int, groups: np.ndarray | None) -> np.ndarray:
    """(rows,) int in 0..4: groups, or rows, dealt out in a fixed shuffle."""
    owner = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    return np.random.default_rng(0).permutation(int(owner.max()) + 1)[owner] % RANDOM_FOLDS


def _beside(raw: RawTable, truth: Truth, names: frozenset[str], what: str) -> pd.Series:
    """The column of folds or groups in the order of the labels. Raises DataError."""
    wanted = None if truth.ids is None else truth.ids.values
    if raw.frame is not None:
        raw, ids = in_order(raw, wanted, truth.path, None if truth.ids is None else truth.ids.name)
        if ids is None or wanted is None:
            truth.notes.append(f"{raw.path}: no ids to match it with {truth.path}: its rows are matched by position")
    if raw.rows != len(truth.values):
        raise DataError(f"{raw.path}: {raw.rows} rows, but there are {len(truth.values)} labels; give one a row")
    if raw.frame is None:
        assert raw.array is not None
        if raw.array.ndim != 1:
            raise DataError(f"{raw.path}: shape {raw.array.shape}, but there are {len(truth.values)} labels; give one "
                            "a row")
        truth.notes.append(f"{raw.path}: no ids: its rows are matched by position")
        return pd.Series(raw.array)
    rest = [name for name in raw.frame.columns if ids is None or name != ids.name]
    called = [name for name in rest if plain_name(name) in names]
    if len(called) != 1:
        called = [name for name in rest if plain_name(name) not in TARGET_NAMES | COUNTER_NAMES
                  and not is_counter(name, raw.frame[name])] or rest
    if len(called) != 1:
        left = ", ".join(called) or "none is left"
        raise DataError(f"{raw.path}: it is not clear which column holds the {what}: {left}; call it "
                        f"{what.rstrip('s')}")
    return raw.frame[called[0]]


def fold_column(raw: RawTable, truth: Truth) -> np.ndarray:
    """(n,) int64 folds in the order of the labels. Raises DataError."""
    column = _beside(raw, truth, FOLD_NAMES, "folds")
    if not is_number(column):
        raise DataError(f"{raw.path}: folds must be whole numbers, got {column.iloc[0]!r}")
    numbers = numbers_of(column)
    if (wrong := np.flatnonzero(~(numbers % 1 == 0))).size:
        raise DataError(f"{raw.path}: folds must be whole numbers, got {numbers[wrong[0]]:g} for "
                        f"{truth.row(int(wrong[0]))}")
    return numbers.astype(np.int64)


def group_column(raw: RawTable, truth: Truth) -> np.ndarray:
    """(n,) groups, numbers or text, in the order of the labels; an empty one is the row's own. Raises DataError."""
    column = _beside(raw, truth, GROUP_NAMES, "groups")
    if is_number(column) and column.notna().all():
        return column.to_numpy()
    text = column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=object)
    own = np.array([f"row {row}" for row in range(len(text))], dtype=object)
    return np.where(text == "", own, text).astype(str)


def require_whole_groups(groups: np.ndarray, folds: np.ndarray) -> None:
    """Raises DataError for a group that several folds share."""
    pairs = pd.DataFrame({"group": groups, "fold": folds}).drop_duplicates()
    doubled = pairs["group"][pairs["group"].duplicated()]
    if len(doubled):
        raise DataError(f"group '{doubled.iloc[0]}' lies in several folds; scores would not be honest")
