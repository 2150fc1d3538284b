"""Which columns of a file are predictions, and of which class: by name; by position only where there are no names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.search.files.class_names import are_numbers, column_order, same_names
from foldpack.search.files.column_names import TARGET_NAMES, is_id_name, plain_name
from foldpack.search.files.columns import (
    IdColumn,
    is_counter,
    is_fold,
    is_number,
    is_whole,
    numbers_of,
)


@dataclass(frozen=True)
class Predictions:
    """One file's numbers. values: (n,) or (n, C) float; names: of its columns, None where it has none."""

    values: np.ndarray
    names: list[str] | None


def predictions_of(
    frame: pd.DataFrame,
    path: object,
    ids: list[IdColumn],
    own: str | None = None,
    known: list[str] | None = None,
    truth: np.ndarray | None = None,
) -> tuple[Predictions, list[str]]:
    """The columns of a frame that are predictions, and notes that name those that are not.

    ids: columns that could be ids too; own: the one that is; known: names of the classes, where they are known;
    truth: (n,) or (n, C) labels in the order of the frame; what equals them is no prediction. Raises DataError where
    none is left.
    """
    frame = frame.drop(columns=[own] if own in frame else [])
    reasons = {name: _why_not(name, frame[name], path, ids, known or [], truth, len(frame.columns))
               for name in frame.columns}
    skipped = {name: why for name, why in reasons.items() if why is not None}
    kept = [name for name in frame.columns if name not in skipped]
    if known is not None and len(kept) > len(known) and (same := _truth_columns(frame, known, truth)):
        skipped |= dict.fromkeys(same, "the labels themselves")
        kept = [name for name in kept if name not in same]
    notes = []
    if not kept:
        kept = [name for name, why in skipped.items() if why in ("a target", "whole numbers, each once")]
        if len(kept) != 1:
            raise DataError(f"{path}: no column of predictions is left; {_told(skipped)}; give a column for each class")
        del skipped[kept[0]]
        notes = [f"{path}: column {kept[0]!r} is taken as the prediction"]
    skipped |= _decided(frame[kept], known or [])
    kept = [name for name in kept if name not in skipped]
    _require_alike_numbers(frame[kept], path, known or [])
    if skipped:
        notes.append(f"{path}: no predictions, so left out: {_told(skipped)}")
    values = np.column_stack([numbers_of(frame[name]) for name in kept])
    return Predictions(values[:, 0] if len(kept) == 1 else values, kept), notes


def _decided(frame: pd.DataFrame, known: list[str]) -> dict[str, str]:
    """Columns that only say what the others lead to: the likeliest class, or the one number above a threshold."""
    rest = [name for name in frame.columns if not is_whole(frame[name])]
    whole = [name for name in frame.columns if name not in known and name not in rest and frame[name].nunique() > 1]
    if not rest or not whole or frame.isna().any(axis=None):
        return {}
    table = frame[rest].to_numpy(dtype=np.float64)
    found = {}
    for name in whole:
        answer = numbers_of(frame[name])
        if len(rest) == 1 and set(answer) == {0, 1} and table[answer == 0].max() <= table[answer == 1].min():
            found[name] = f"{rest[0]!r} above a threshold"
        elif len(rest) > 1 and np.array_equal(answer - answer.min(), table.argmax(axis=1) - table.argmax(axis=1).min()):
            found[name] = "the likeliest class"
    return found


def _require_alike_numbers(frame: pd.DataFrame, path: object, known: list[str]) -> None:
    """Raises DataError for whole numbers, not all 0, beside columns with fractions: a width, a flag, a count."""
    whole = [name for name in frame.columns if name not in known and is_whole(frame[name]) and frame[name].any()]
    rest = [name for name in frame.columns if not is_whole(frame[name])]
    if whole and rest:
        raise DataError(f"{path}: column {whole[0]!r} holds whole numbers only and {rest[0]!r} does not, so it is not "
                        "clear that both are predictions; leave out what is none")


def _told(skipped: dict[str, str]) -> str:
    return ", ".join(f"{name!r} ({why})" for name, why in skipped.items()) or "the file has none"


def _why_not(
    name: str, column: pd.Series, path: object, ids: list[IdColumn], known: list[str], truth: np.ndarray | None,
    columns: int,
) -> str | None:
    """Why a column is no prediction; None where it is one. Raises DataError for numbers with text in them."""
    own = next((one for one in ids if one.name == name), None)
    if name in known:
        return None if is_number(column) else _text(name, column, path)
    if own is None and is_id_name(name) and is_number(column) and is_whole(column) and column.nunique() > 2:
        return "ids"
    if own is not None:
        return "ids" if own.strength >= 2 else "a counter" if own.strength else "whole numbers, each once"
    if not is_number(column):
        return _text(name, column, path)
    if is_fold(name, column):
        return "folds"
    if is_counter(name, column):
        return "a counter"
    if _equals_truth(column, truth, columns):
        return "the labels themselves"
    return "a target" if plain_name(name) in TARGET_NAMES and is_whole(column) else None


def _text(name: str, column: pd.Series, path: object) -> str:
    """Raises DataError where most of a column of text are numbers."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    if 0.5 < np.mean(~np.isnan(numbers)) < 1:
        row = int(np.flatnonzero(np.isnan(numbers))[0])
        raise DataError(f"{path}: column {name!r} holds text, first {column.iloc[row]!r} in row {row}; after the ids "
                        "only numbers are read")
    return "text"


def _truth_columns(frame: pd.DataFrame, known: list[str], truth: np.ndarray | None) -> list[str]:
    """The columns called like the classes, if all hold the labels themselves."""
    if truth is None or truth.ndim != 2 or truth.shape[1] != len(known) or any(name not in frame for name in known):
        return []
    same = all(np.array_equal(numbers_of(frame[name]), truth[:, place]) for place, name in enumerate(known))
    return known if same else []


def _equals_truth(column: pd.Series, truth: np.ndarray | None, columns: int) -> bool:
    """Whether a column holds the labels, or those of one class; the latter only where there are columns to spare."""
    if truth is None or truth.dtype.kind not in "biuf":
        return False
    if truth.ndim == 1:
        return np.array_equal(numbers_of(column), truth)
    values = numbers_of(column)
    return columns > truth.shape[1] and any(np.array_equal(values, one) for one in truth.T)


def by_name(found: Predictions, known: list[str], path: object, source: object) -> tuple[np.ndarray, list[str]]:
    """(n, C) in the order of the known classes, and notes. known: from `source`. Raises DataError for others."""
    values, names = found.values, found.names
    if values.ndim != 2 or values.shape[1] != len(known):
        raise _other_names(found, known, path, source)
    if names is None:
        return values, []
    place = {name: column for column, name in enumerate(names)}
    wanted = same_names(names, known)
    note = "" if wanted is None or wanted == known else f"column {wanted[0]!r} is taken as {known[0]!r}, and so on"
    if wanted is None and (are_numbers(names) or are_numbers(known)):
        wanted = column_order(names)
        note = f"no names in common with {source}: its columns are taken by position, {wanted[0]!r} as {known[0]!r}"
    if wanted is None:
        raise _other_names(found, known, path, source)
    return values[:, [place[name] for name in wanted]], [f"{path}: {note}"] if note else []


def require_one_order(named: list[tuple[object, list[str] | None]], known: list[str], source: object) -> None:
    """Raises DataError where files go by position, as the classes are but numbers, and their names stand differently.

    named: files and the names of their columns.
    """
    if not are_numbers(known):
        return
    others = [(path, names) for path, names in named if names is not None and same_names(names, known) is None]
    for path, names in others:
        if names != others[0][1]:
            raise DataError(f"{path}: its columns are {_some(names)}, those of {others[0][0]} {_some(others[0][1])}, "
                            f"and {source} has but numbers for the classes; give all columns in the order of these")


def _other_names(found: Predictions, known: list[str], path: object, source: object) -> DataError:
    names = found.names
    if names is None:
        return DataError(f"{path}: shape {found.values.shape}, but {source} has {len(known)} classes: {_some(known)}; "
                         "members must predict the same items and classes")
    missing = [name for name in known if name not in names]
    more = [name for name in names if name not in known]
    parts = [f"{what} {_some(some)}" for what, some in (("missing", missing), ("too many", more)) if some]
    return DataError(f"{path}: the columns are not the classes of {source}: {'; '.join(parts)}; give a column for each "
                     f"of {_some(known)}")


def _some(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
