"""The truth that people bring: class numbers, 0/1 tables, one-hot tables, class names, grades or real values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric, base_name
from foldpack.search.cells.cells import Kind
from foldpack.search.files.class_names import numbered, numbers_in, within
from foldpack.search.files.column_names import TARGET_NAMES, is_id_name, plain_name
from foldpack.search.files.columns import IdColumn, is_counter, is_fold, is_number, numbers_of
from foldpack.search.files.tables import RawTable

SOME_NAMES = 5  # named in a message
ONE_CLASS = ("accuracy", "error", "micro_f1", "macro_f1", "top5_accuracy", "top_accuracy", "recall", "recall1",
             "recall5", "recall10")  # exactly one right an item
ONE_HOT = (*ONE_CLASS, "log_loss", "auc", "weighted_auc", "average_precision", "pf1", "map", "map1", "map3", "map5",
           "map10")


@dataclass(frozen=True)
class Truth:
    """values: (n,) or (n, C) float64, or (n,) text; ids: of the rows, or None; names: of the columns of the labels,

    None where there are none; notes: what was left out.
    """

    path: object
    values: np.ndarray
    ids: IdColumn | None
    names: list[str] | None
    notes: list[str]

    def row(self, number: int) -> str:
        """How a message names a row: its number from 0, and its id."""
        return f"row {number}" + ("" if self.ids is None else f" (id {self.ids.values[number]!r})")


def read_truth(raw: RawTable, ids: IdColumn | None, others: list[IdColumn], predicted: list[set[str]]) -> Truth:
    """The labels of a file. others: what else could be ids; predicted: names of columns of the members, where any.

    Raises DataError where it is not clear which columns are the labels.
    """
    if raw.frame is None:
        assert raw.array is not None
        values = raw.array if raw.array.dtype.kind == "U" else raw.array.astype(np.float64)
        return Truth(raw.path, values, None, None, [])
    frame, notes = raw.frame, []
    strange = {one.name for one in others if one.strength} | ({ids.name} if ids else set())
    rest = [name for name in frame.columns if name not in strange and not is_fold(name, frame[name])]
    foreign = {name for name in rest if is_id_name(name) and plain_name(name) not in TARGET_NAMES
               and not any(name in one for one in predicted)}  # PatientID
    rest = [name for name in rest if name not in foreign] or rest
    rest = [name for name in rest if len(rest) == 1 or not is_counter(name, frame[name])
            or plain_name(name) in TARGET_NAMES]
    names = _label_columns(frame[rest], raw.path, predicted)
    left = [name for name in frame.columns if name not in names and (ids is None or name != ids.name)]
    if left:
        notes = [f"{raw.path}: the labels are {_some(names)}; left out: {_some(left)}"]
    if len(names) > 1 or is_number(frame[names[0]]):
        table = np.column_stack([numbers_of(frame[name]) for name in names])
        return Truth(raw.path, table[:, 0] if len(names) == 1 else table, ids, names, notes)
    return Truth(raw.path, frame[names[0]].astype(str).to_numpy(dtype=str), ids, names, notes)


def _label_columns(frame: pd.DataFrame, path: object, predicted: list[set[str]]) -> list[str]:
    """Which of the columns that are no ids, folds or counters are the labels."""
    rest = list(frame.columns)
    if not rest:
        raise DataError(f"{path}: no column of labels; give one, called label, beside the ids")
    if len(rest) == 1:
        return rest
    binary = [name for name in rest if is_number(frame[name]) and set(np.unique(numbers_of(frame[name]))) <= {0.0, 1.0}]
    targets = [name for name in rest if plain_name(name) in TARGET_NAMES]
    classes = [name for name in binary if name not in targets]
    if len(targets) == 1 and len(binary) == len(rest) and any(set(rest) <= one for one in predicted):
        return rest
    if len(classes) > 1 and any(set(classes) <= one for one in predicted) and len(targets) <= 1:
        return classes
    if len(targets) == 1 and len(classes) > 1 and len(classes) == len(rest) - 1:
        raise DataError(f"{path}: the labels are either {targets[0]!r} or the 0/1 columns {_some(classes)}; leave "
                        "one of the two out")
    named = [name for name in rest if _names_of(frame[name], predicted)]
    if len(named) == 1:
        return named
    if len(targets) == 1:
        return targets
    if len(binary) == len(rest):
        return rest
    raise DataError(f"{path}: it is not clear which of the columns {_some(rest)} are the labels; leave one beside the "
                    "ids (or call one label), or give only 0/1 columns, one for each class")


def _names_of(column: pd.Series, predicted: list[set[str]]) -> bool:
    """Whether a column of text holds names of the predictions' columns and nothing else."""
    return not is_number(column) and any(set(column.astype(str)) <= one for one in predicted)


def _some(names: list[str]) -> str:
    more = len(names) - SOME_NAMES
    return ", ".join(repr(name) for name in names[:SOME_NAMES]) + (f" and {more} more" if more > 0 else "")


def targets_of(
    truth: Truth, metric: Metric, classes: list[str] | None, columns: int, alike_one: bool, new_class: bool = False
) -> tuple[Kind, np.ndarray, list[str]]:
    """Labels -> what `dense_cells` wants for this metric, and notes. Raises DataError with the row that does not fit.

    classes: names of the predictions' columns, None where they have none; columns: how many, 1 for one number an item;
    alike_one: whether every item's numbers can be shares of one whole; new_class: -1 is "in no class".
    """
    values = truth.values
    if values.dtype.kind == "f" and not (finite := np.isfinite(values.reshape(len(values), -1)).all(axis=1)).all():
        raise DataError(f"{truth.path}: no label (NaN or infinity) in {truth.row(int(np.flatnonzero(~finite)[0]))}; "
                        "every item needs one")
    if metric.needs in ("values", "grades"):
        return "values", _real_values(truth, metric, columns), []
    if values.ndim == 2:
        return _of_table(truth, metric, columns, alike_one)
    if columns == 1:
        _require_one_column_fits(metric)
        return "labels", _zero_one(truth, metric), []
    numbers = class_numbers(truth, classes, columns, new_class)
    if columns > 2 and numbers.max() < 2 and not alike_one:
        raise DataError(f"{truth.path}: the labels are 0 and 1, but the predictions have {columns} columns, which do "
                        "not sum to 1; leave out the columns that are no predictions")
    if metric.needs == "labels":
        return "labels", numbers[:, None] == np.arange(columns), [f"{truth.path}: class numbers are one label an item"]
    return "exclusive", numbers, []


def _real_values(truth: Truth, metric: Metric, columns: int) -> np.ndarray:
    if truth.values.dtype.kind == "U":
        raise DataError(f"{truth.path}: metric {metric.name!r} needs numbers; the labels are text, like "
                        f"{str(truth.values[0])!r}")
    if truth.values.ndim != 1 or columns != 1:
        raise DataError(f"{truth.path}: metric {metric.name!r} needs one number an item; the labels have shape "
                        f"{truth.values.shape}, the predictions {columns} columns")
    if metric.needs == "grades" and (wrong := np.flatnonzero((truth.values % 1 != 0) | (truth.values < 0))).size:
        raise DataError(f"{truth.path}: metric {metric.name!r} needs grades 0, 1, 2 ...; got "
                        f"{truth.values[wrong[0]]:g} in {truth.row(int(wrong[0]))}")
    return truth.values


def _of_table(truth: Truth, metric: Metric, columns: int, alike_one: bool) -> tuple[Kind, np.ndarray, list[str]]:
    """A 0/1 table: labels; or one class an item, where each row has exactly one and the metric wants that."""
    values = truth.values
    if truth.values.shape[1] != columns:
        raise DataError(f"{truth.path}: the labels have {values.shape[1]} columns and the predictions {columns}; give "
                        "both for the same classes")
    if not np.isin(values, (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(values, (0, 1)).all(axis=1))[0])
        raise DataError(f"{truth.path}: metric {metric.name!r} needs 0/1 labels, got {values.min():g} to "
                        f"{values.max():g}, first in {truth.row(row)}")
    count = values.sum(axis=1)
    if base_name(metric) in ONE_CLASS and (count != 1).any():
        row = int(np.flatnonzero(count != 1)[0])
        raise DataError(f"{truth.path}: metric {metric.name!r} needs one class an item; {truth.row(row)} has "
                        f"{int(count[row])} labels; take a metric of labels, like f1")
    if base_name(metric) in ONE_HOT and (count == 1).all() and (alike_one or base_name(metric) in ONE_CLASS):
        return "exclusive", values.argmax(axis=1), [f"{truth.path}: one-hot labels are one class an item"]
    return "labels", values.astype(bool), []


def _require_one_column_fits(metric: Metric) -> None:
    if metric.needs == "labels" and metric.average == "samples":
        base, rest = base_name(metric), metric.name[len(base_name(metric)):]
        raise DataError(f"metric {metric.name!r} counts the labels of each item, and there is one column; take "
                        f"{base}_macro{rest} or {base}_micro{rest}")
    if metric.map_at or metric.name.startswith(("recall", "top")):
        raise DataError(f"metric {metric.name!r} ranks classes, and the predictions have one column; give one for each "
                        "class")


def _zero_one(truth: Truth, metric: Metric) -> np.ndarray:
    """(n,) bool, for predictions of one number an item."""
    if truth.values.dtype.kind == "U" and not np.isin(truth.values, ("0", "1")).all():
        raise DataError(f"{truth.path}: the labels are text, like {str(truth.values[0])!r}, and the predictions have "
                        "one column; give 0/1 labels, or a column for each class, called like the class")
    values = truth.values.astype(np.float64)
    if (wrong := np.flatnonzero(~np.isin(values, (0, 1)))).size:
        raise DataError(f"{truth.path}: metric {metric.name!r} needs 0/1 labels for predictions of one column, got "
                        f"{values.min():g} to {values.max():g}, first {values[wrong[0]]:g} in "
                        f"{truth.row(int(wrong[0]))}")
    return values.astype(bool)


def class_numbers(truth: Truth, classes: list[str] | None, columns: int, new_class: bool = False) -> np.ndarray:
    """(n,) int64: the column of every item's class; -1 stays with `new_class`. Raises DataError with the row.

    Class names are looked up among the columns' names, and so are class numbers, where the columns are called by
    numbers.
    """
    values = truth.values
    if values.dtype.kind == "U":
        return _looked_up(truth, values, classes, columns, new_class)
    written = np.array([f"{value:g}" for value in values])
    if classes is not None and not new_class and set(written) <= set(classes):
        return _looked_up(truth, written, classes, columns, new_class)
    if (wrong := np.flatnonzero(values % 1 != 0)).size:
        raise DataError(f"{truth.path}: a class number or a 0/1 label is needed, got {values[wrong[0]]:g} in "
                        f"{truth.row(int(wrong[0]))}; the labels hold other numbers")
    numbers = values.astype(np.int64)
    called = None if classes is None else numbers_in(classes)
    if called is not None and set(numbers.tolist()) - ({-1} if new_class else set()) <= set(called):
        return _looked_up(truth, numbers.astype(str), [str(one) for one in called], columns, new_class)
    bare = classes is not None and all(_is_number(name) for name in classes)
    if bare and classes != numbered(columns):
        return _looked_up(truth, numbers.astype(str), classes, columns, new_class)
    outside = (numbers >= columns) | ((numbers < 0) & ~((numbers == -1) & new_class))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        names = "" if classes is None or bare else f" ({_some(classes)})"
        raise DataError(f"{truth.path}: label {numbers[row]} in {truth.row(row)} is none of the {columns} "
                        f"columns{names}, which are 0 to {columns - 1}; the labels are {numbers.min()} to "
                        f"{numbers.max()}{_range_hint(numbers, columns)}")
    return numbers


def _is_number(name: str) -> bool:
    return name.isdecimal() and (name == "0" or name[0] != "0")


def _range_hint(numbers: np.ndarray, columns: int) -> str:
    if numbers.min() == 1 and numbers.max() == columns:
        return "; they seem to count from 1: subtract 1"
    return "; --new-class takes -1 as 'in no class'" if numbers.min() == -1 and numbers.max() < columns else ""


def _looked_up(
    truth: Truth, values: np.ndarray, classes: list[str] | None, columns: int, new_class: bool
) -> np.ndarray:
    if classes is None and np.isin(values, numbered(columns)).all():
        return values.astype(np.int64)
    if classes is None:
        raise DataError(f"{truth.path}: the labels are text, like {str(values[0])!r}, and the predictions have no "
                        "column names to look them up; give predictions with a header (.csv, .parquet), or labels as "
                        f"numbers from 0 to {columns - 1}")
    if not np.isin(values, classes).all():
        classes = within(classes, np.unique(values[values != "-1"] if new_class else values).tolist()) or classes
    numbers = pd.Index(classes).get_indexer(pd.Index(values.astype(object)))
    lost = (numbers < 0) & ~((values == "-1") & new_class)
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise DataError(f"{truth.path}: label {str(values[row])!r} in {truth.row(row)} is none of the columns: "
                        f"{_some(classes)}")
    return numbers.astype(np.int64)
