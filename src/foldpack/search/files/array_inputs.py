"""All that a search of files reads: labels, members, folds and groups, put into one order of rows and of classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells, Kind, dense_cells
from foldpack.search.checks.lint import require_alike
from foldpack.search.decide.new_class import new_column
from foldpack.search.files.class_columns import Predictions, by_name, require_one_order
from foldpack.search.files.class_names import column_order, numbered, numbers_in
from foldpack.search.files.column_names import is_counter_name
from foldpack.search.files.columns import STRONG, id_columns, pick_own_ids
from foldpack.search.files.fold_files import fold_column, group_column, make_folds, require_whole_groups
from foldpack.search.files.inputs import digest_of, in_order, predictions_in, whole_member
from foldpack.search.files.labels import Truth, read_truth, targets_of
from foldpack.search.files.member_scores import (
    Scores,
    as_probs,
    decide_scores,
    order_temperature,
    require_alike_columns,
    require_finite,
    require_some_below_half,
    required_scores,
    shares_of_one,
    zero_notes,
)
from foldpack.search.files.tables import RawTable, read_raw, split_array_name
from foldpack.settings.file_members import FileMember


@dataclass(frozen=True)
class ArrayInputs:
    """What was read: cells of all members, what each of them is (weights are not found yet), folds, what was noticed.

    classes: names of the columns, or of the answer where there is one number an item; id_column, label_column: what the
    files call ids and labels, None where they have none.
    """

    cells: Cells
    members: list[FileMember]
    folds: np.ndarray
    notes: list[str]
    classes: list[str] = field(default_factory=list)
    id_column: str | None = None
    label_column: str | None = None

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]


def read_arrays(
    files: list[Path],
    labels: Path,
    metric: Metric,
    groups: Path | None = None,
    folds: Path | None = None,
    new_class: bool = False,
    given: Scores | None = None,
) -> ArrayInputs:
    """Read and check members' out-of-fold predictions and the labels. Raises DataError naming file and row.

    Without folds, five are made: of whole groups when there are groups, else of single rows, in a fixed shuffle.
    new_class: a label -1 means "in no class"; it becomes the last class, with a column of its own. given: what all
    members' numbers are, where their range does not tell.
    """
    names = member_names(files)
    truth_raw, raws = read_raw(labels), [read_raw(path) for path in files]
    beside = {what: read_raw(path) for what, path in (("groups", groups), ("folds", folds)) if path is not None}
    truth = truth_among(truth_raw, [*raws, *beside.values()], raws)
    group = None if groups is None else group_column(beside["groups"], truth)
    fold = make_folds(len(truth.values), group) if folds is None else fold_column(beside["folds"], truth)
    if group is not None:
        require_whole_groups(group, fold)
    if (fold == fold[0]).all():
        truth.notes.append("all rows are in one fold, so no score is of rows that the weights have not seen")
    tables, notes = ordered_members(raws, truth, fold if folds else None)
    classes, found, more = same_columns(tables, truth, names)
    notes = truth.notes + notes + more
    columns = found[0].shape[1] if found[0].ndim == 2 else 1
    alike_one = columns > 1 and (given == "logit" or all(shares_of_one(values) for values in found))
    kind, targets, more = targets_of(truth, metric, classes, columns, alike_one, new_class)
    notes += more
    members, stack = [], []
    for name, table, values, column in zip(names, tables, found, _single_columns(tables, columns), strict=True):
        scores = decide_scores(values, kind) if given is None else required_scores(values, kind, given, name)
        if given is None:
            require_alike_columns(values, scores, classes, name)
        require_some_below_half(values, kind, scores, metric, name)
        notes += zero_notes(values, name)
        temperature = order_temperature(values, kind, scores, metric)
        probs, more = as_probs(values, kind, scores, name, temperature)
        stack.append(probs)
        members.append(FileMember(name=name, weight=0, sha256=digest_of(table.raw.files), scores=scores,
                                  temperature=temperature, column=column))
        notes += more
    predictions = np.stack(stack)
    if new_class:
        targets = new_class_targets(kind, targets, columns, metric)
        column_of_none = np.broadcast_to(new_column(len(targets), columns), (len(predictions), len(targets), 1))
        predictions = np.concatenate([predictions, column_of_none], axis=2)
    label = truth.names[0] if truth.names and truth.values.ndim == 1 else None
    answer = [label or members[0].column or "prediction"]
    return ArrayInputs(dense_cells(predictions, targets, group), members, fold, list(dict.fromkeys(notes)),
                       answer if columns == 1 else classes or numbered(columns), _id_name(truth, tables),
                       label)


def truth_among(raw: RawTable, others: list[RawTable], members: list[RawTable]) -> Truth:
    """The labels with their ids: of the columns that could be ids, those that other files have too."""
    columns = id_columns(raw)
    own = pick_own_ids(columns, [id_columns(other) for other in others])
    predicted = [set(member.frame.columns) for member in members if member.frame is not None]
    truth = read_truth(raw, own, [one for one in columns if one is not own], predicted)
    if own is not None and own.strength < STRONG:
        truth.notes.append(f"{raw.path}: its ids are column {own.name!r}")
    return truth


@dataclass(frozen=True)
class OrderedTable:
    """A member's rows in the order of the labels, its numbers, and the name of its ids."""

    raw: RawTable
    found: Predictions
    id_name: str | None


def ordered_members(
    raws: list[RawTable], truth: Truth, folds: np.ndarray | None
) -> tuple[list[OrderedTable], list[str]]:
    """Every member's rows in the order of the labels, and notes. Raises DataError where ids differ."""
    wanted = None if truth.ids is None else truth.ids.values
    id_name = None if truth.ids is None else truth.ids.name
    known = truth_classes(truth)
    numbers = None if truth.values.dtype.kind == "U" else truth.values
    tables, notes, without = [], [], []
    first: tuple[object, list[str]] | None = None
    for given in raws:
        raw, more = whole_member(given, folds, len(truth.values), wanted)
        raw, ids = in_order(raw, wanted, truth.path, id_name)
        if ids is None or wanted is None:
            without.append(str(given.path))
        if ids is not None and wanted is None:
            first = first or (raw.path, ids.values)
            if ids.values != first[1]:
                raise DataError(f"{raw.path}: its ids are not those of {first[0]}, or in another order, and the labels "
                                "have none to say which row is which; give the labels ids")
        found, skipped = predictions_in(raw, None if ids is None else ids.name, known, numbers)
        require_finite(found.values, given.path, None if ids is None else ids.values)
        tables.append(OrderedTable(raw, found, None if ids is None else ids.name))
        notes += more + skipped
    files = {table.raw.files: table.raw.path for table in tables}
    for table in tables:
        if len(table.raw.files) > 1 and files[table.raw.files] != table.raw.path:
            raise DataError(f"{table.raw.path} and {files[table.raw.files]} are folds of one member; name one of them")
    if without:
        lack = f"no ids in {truth.path}" if wanted is None else f"no ids in {', '.join(without)}"
        notes.append(f"{lack}: rows are matched by position")
    return tables, notes


def truth_classes(truth: Truth) -> list[str] | None:
    """Names of classes that the labels know: of the columns of a table, or all that occur as text."""
    if truth.values.ndim == 2:
        return truth.names
    return np.unique(truth.values).tolist() if truth.values.dtype.kind == "U" else None


def same_columns(
    tables: list[OrderedTable], truth: Truth, names: list[str]
) -> tuple[list[str] | None, list[np.ndarray], list[str]]:
    """(names of the classes, None where no file has any; every member's (n,) or (n, C) in their order; notes).

    The order is that of the labels' columns, else of the first member with names. Raises DataError where names differ.
    """
    found = [table.found for table in tables]
    wide = [one for one in found if one.values.ndim == 2]
    if len(wide) < len(found):
        require_alike([one.values.shape for one in found], names)
        return None, [one.values for one in found], []
    known, source = (truth.names if truth.values.ndim == 2 else None), truth.path
    named = [table for table in tables if table.found.names is not None]
    real = [table for table in named if column_order(table.found.names or []) != numbered(len(table.found.names or []))]
    if known is None and named:
        lead = (real or named)[0]
        known, source = column_order(lead.found.names or []), lead.raw.path
    if known is None:
        require_alike([one.values.shape for one in found], names)
        return None, [one.values for one in found], ["no column names: classes are matched by position"]
    require_one_order([(table.raw.path, table.found.names) for table in tables], known, source)
    values, notes = [], []
    for table in tables:
        one, more = by_name(table.found, known, table.raw.path, source)
        values.append(one)
        notes += more
    nameless = [str(table.raw.path) for table in tables if table.found.names is None]
    if nameless:
        notes.append(f"no column names in {', '.join(nameless)}: their classes are matched by position to {source}")
    if real and (truth.names is None or truth.values.ndim == 1) and truth.values.dtype.kind != "U":
        notes += _number_order(known, real, values, truth)
    return known, values, notes


def _number_order(known: list[str], real: list[OrderedTable], values: list[np.ndarray], truth: Truth) -> list[str]:
    """A note on which name is class 0 where labels are numbers and columns have names.

    Raises DataError where the labels fit another order better: that of another file, or the sorted one. The numbers of
    the classes could follow any of them.
    """
    numbers = numbers_in(known)
    if numbers is not None:
        if all(name.isdecimal() for name in known):
            return []
        named = set(np.unique(truth.values).tolist()) <= set(numbers)
        first, second = numbers[:2] if named else (0, 1)
        return [f"the labels are numbers: {first} is {known[0]!r}, {second} is {known[1]!r} and so on"]
    lead = next((str(table.raw.path) for table in real if table.found.names == known), None)
    if lead is None:
        return []
    orders = {tuple(table.found.names or []): f"the order of {table.raw.path}" for table in reversed(real)}
    orders = {tuple(sorted(known)): "the sorted order"} | orders
    mean = np.mean(values, axis=0)
    fits = {tuple(known): _fit(mean, truth.values)}
    for order in orders:
        if sorted(order) == sorted(known):
            fits[order] = _fit(mean[:, [known.index(name) for name in order]], truth.values)
    best = max(fits, key=lambda order: fits[order])
    if fits[best] > fits[tuple(known)]:
        raise DataError(f"{lead}: the labels are numbers, and fit {orders[best]} of the classes better than the order "
                        "of its columns; give the labels as class names, or all columns in the order of the numbers")
    return [f"the labels are numbers: 0 is {known[0]!r}, 1 is {known[1]!r} and so on, as the columns of {lead} stand"]


def _fit(table: np.ndarray, labels: np.ndarray) -> float:
    """How well class numbers, or a 0/1 table, fit the columns in this order; 0 where their shapes do not."""
    if labels.ndim == 1:
        return float(np.mean(table.argmax(axis=1) == labels))
    return float(table[labels > 0].sum()) if labels.shape == table.shape else 0.0


def _single_columns(tables: list[OrderedTable], columns: int) -> list[str | None]:
    return [None if columns > 1 or table.found.names is None else table.found.names[0] for table in tables]


def _id_name(truth: Truth, tables: list[OrderedTable]) -> str | None:
    names = [truth.ids.name if truth.ids is not None else None, *(table.id_name for table in tables)]
    return next((name for name in names if name is not None and not is_counter_name(name)), None)


def member_names(files: list[Path]) -> list[str]:
    """File names without endings; with their folder where two are the same. Raises DataError for one file twice."""
    split = [split_array_name(path) for path in files]
    if len({(file.resolve(), array) for file, array in split}) != len(files):
        raise DataError("a file of predictions is named twice; name each once")
    kinds = [[file.stem for file, _ in split],
             [f"{file.stem}:{array}" if array else file.stem for file, array in split],
             [f"{file.parent.name}/{file.stem}" for file, _ in split],
             [f"{file.parent.name}/{file.name}:{array}" if array else f"{file.parent.name}/{file.name}"
              for file, array in split],
             [str(path) for path in files]]
    names = []
    for options in zip(*kinds, strict=True):
        alone = (one for one, among in zip(options, kinds, strict=True) if among.count(one) == 1)
        names.append(next(alone))
    return names


def new_class_targets(kind: Kind, targets: np.ndarray, classes: int, metric: Metric) -> np.ndarray:
    """(n,) int with `classes` for the items that are in no class (-1). Raises DataError where that makes no sense."""
    if kind != "exclusive" or not metric.map_at:
        raise DataError(f"--new-class ranks classes for a metric like map5; it does not fit {metric.name!r} and these "
                        "labels")
    if targets.min() != -1:
        raise DataError("--new-class: no label is -1, so nothing says when an item is in no class")
    return np.where(targets == -1, classes, targets)
