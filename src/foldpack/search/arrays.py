"""The search on files: ./ensemble_search.py NAME a.npy b.npy --labels y.npy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.data.runs import write_array
from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.array_spec import (
    ArrayBlend,
    ArrayEnsemble,
    ArrayMember,
    apply_ensemble,
    array_view,
    decide_ensemble,
    read_any_ensemble,
)
from foldpack.search.cells import Cells, Kind, dense_cells
from foldpack.search.chance import check_chance
from foldpack.search.drift import Drift, member_drift
from foldpack.search.find import Found, Progress, SearchOptions, find_ensemble
from foldpack.search.inputs import Table, align, read_member, read_table
from foldpack.search.level2 import Level2Options, class_prior, require_level2_fits
from foldpack.search.level2_files import booster_folder, level2_of_arrays, remove_boosters
from foldpack.search.level2_step import Level2Source, add_level2
from foldpack.search.lint import checked_probs, duplicate_notes, require_alike, score_notes
from foldpack.search.new_class import new_column
from foldpack.search.report import Report, report_numbers
from foldpack.search.solvers import in_space
from foldpack.spec import MetricSpec

RANDOM_FOLDS = 5  # where no folds are given


@dataclass(frozen=True)
class ArrayInputs:
    """What was read: cells of all members, their names and digests, folds, and what was noticed."""

    cells: Cells
    names: list[str]
    digests: list[str]
    folds: np.ndarray
    notes: list[str]


def read_arrays(
    files: list[Path],
    labels: Path,
    metric: Metric,
    groups: Path | None = None,
    folds: Path | None = None,
    new_class: bool = False,
) -> ArrayInputs:
    """Read and check members' out-of-fold predictions and the labels. Raises DataError naming file and row.

    Without folds, five are made: of whole groups when there are groups, else of single rows, in a fixed shuffle.
    new_class: a label -1 means "in no class"; it becomes the last class, with a column of its own.
    """
    truth = read_table(labels)
    rows = len(truth.values)
    group = None if groups is None else _column(groups, truth, "groups")
    fold = make_folds(rows, group) if folds is None else _fold_numbers(_column(folds, truth, "folds"), folds)
    if group is not None:
        _require_whole_groups(group, fold)
    names, tables = member_names(files), [read_member(path, fold if folds else None, rows) for path in files]
    kind, targets = read_targets(truth.values, metric, one_column=tables[0].values.ndim == 1)
    notes, members = [], []
    for name, table in zip(names, tables, strict=True):
        probs, found = checked_probs(align(table, truth.ids, name), kind, name)
        members.append(probs)
        notes += found
    require_alike([one.shape for one in members], names)
    stack = np.stack(members)
    if new_class:
        targets = new_class_targets(kind, targets, stack.shape[-1], metric)
        column = new_column(rows, stack.shape[-1])
        stack = np.concatenate([stack, np.broadcast_to(column, (len(stack), rows, 1))], axis=2)
    cells = dense_cells(stack, targets, group)
    return ArrayInputs(cells, names, [table.digest() for table in tables], fold, notes)


def read_targets(values: np.ndarray, metric: Metric, one_column: bool = False) -> tuple[Kind, np.ndarray]:
    """Labels as they were read -> what `dense_cells` wants for this metric. Raises DataError when they do not fit.

    one_column: whether the predictions are one number an item, which makes (n,) labels 0/1.
    """
    if metric.needs in ("values", "grades"):
        return "values", values.astype(np.float64)
    whole = np.issubdtype(values.dtype, np.bool_) or np.all(values == np.round(values))
    if not whole:
        raise DataError(f"metric {metric.name!r} needs class numbers or 0/1 labels; the labels hold other numbers")
    if values.ndim == 2 or one_column:
        if not np.isin(values, (0, 1)).all():
            raise DataError(f"metric {metric.name!r} needs 0/1 labels, got {values.min()} to {values.max()}")
        return "labels", values.astype(bool)
    return "exclusive", values.astype(np.int64)


def new_class_targets(kind: Kind, targets: np.ndarray, classes: int, metric: Metric) -> np.ndarray:
    """(n,) int with `classes` for the items that are in no class (-1). Raises DataError where that makes no sense."""
    if kind != "exclusive" or not metric.map_at:
        raise DataError(f"--new-class ranks classes for a metric like map5; it does not fit {metric.name!r} and these "
                        "labels")  # fmt: skip
    if targets.min() != -1:
        raise DataError("--new-class: no label is -1, so nothing says when an item is in no class")
    return np.where(targets == -1, classes, targets)


def member_names(files: list[Path]) -> list[str]:
    """File names without endings; with their folder where two are the same. Raises DataError for one file twice."""
    if len({path.resolve() for path in files}) != len(files):
        raise DataError("a file of predictions is named twice; name each once")
    stems = [path.stem for path in files]
    return [stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
            for stem, path in zip(stems, files, strict=True)]  # fmt: skip


def make_folds(rows: int, groups: np.ndarray | None) -> np.ndarray:
    """(rows,) int in 0..4: groups, or rows, dealt out in a fixed shuffle."""
    owner = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    return np.random.default_rng(0).permutation(int(owner.max()) + 1)[owner] % RANDOM_FOLDS


def _column(path: Path, truth: Table, what: str) -> np.ndarray:
    """(n,) of a file of folds or groups, in the order of the labels. A `fold` column of a table is found by name."""
    if path.suffix.lower() == ".csv":
        frame = pd.read_csv(path)
        name = what.rstrip("s")
        if name in frame.columns and frame.shape[1] > 1:
            ids = frame["id"].astype(str).tolist() if "id" in frame.columns else None
            column = align(Table(frame[name].to_numpy(), ids, (path,)), truth.ids, str(path))
        else:
            column = frame.iloc[:, -1].to_numpy()
    else:
        column = align(read_table(path), truth.ids, str(path))
    if column.shape != (len(truth.values),):
        raise DataError(f"{path}: shape {column.shape}, but there are {len(truth.values)} labels; give one a row")
    return column


def _fold_numbers(column: np.ndarray, path: Path) -> np.ndarray:
    if not np.all(column == np.round(column)):
        raise DataError(f"{path}: folds must be whole numbers")
    return column.astype(np.int64)


def _require_whole_groups(groups: np.ndarray, folds: np.ndarray) -> None:
    pairs = pd.DataFrame({"group": groups, "fold": folds}).drop_duplicates()
    doubled = pairs["group"][pairs["group"].duplicated()]
    if len(doubled):
        raise DataError(f"group '{doubled.iloc[0]}' lies in several folds; scores would not be honest")


def array_ensemble(name: str, inputs: ArrayInputs, found: Found) -> ArrayEnsemble:
    """The YAML of what was found."""
    blend, decision, choice = found.blend, found.decision, found.choice
    threshold = decision.threshold.tolist() if isinstance(decision.threshold, np.ndarray) else decision.threshold
    nested = None if choice is None or np.isnan(choice.mean) else choice
    return ArrayEnsemble(
        name=name,
        kind=inputs.cells.kind,
        metric=MetricSpec(
            name=found.metric.name,
            oof=round(found.score, 6),
            nested=None if nested is None else round(nested.mean, 6),
            nested_se=None if nested is None else round(nested.se, 6),
            uniform=round(found.uniform_score, 6),
        ),
        blend=ArrayBlend.model_validate(
            {"space": blend.solver.space, "power": blend.solver.power, "scale": blend.scale, "bias": blend.bias}
        ),
        threshold=threshold,
        min_labels=found.rule.min_labels,
        max_labels=found.rule.max_labels,
        cuts=None if decision.cuts is None else decision.cuts.tolist(),
        new_score=decision.new_score,
        members=[ArrayMember(name=inputs.names[m], weight=float(blend.weights[m]), sha256=inputs.digests[m])
                 for m in found.used],
    )  # fmt: skip


@dataclass(frozen=True)
class ArraySearch:
    """What a search of files is asked for. metric: fitted for; level2: also try a level 2, and with which options;

    tests: each member's predictions of the test set, to be compared with its out-of-fold ones.
    """

    files: list[Path]
    labels: Path
    metric: Metric
    groups: Path | None = None
    folds: Path | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    level2: Level2Options | None = None
    tests: tuple[Path, ...] = ()


def search_arrays(target: Path, asked: ArraySearch, progress: Progress | None = None) -> tuple[ArrayEnsemble, dict]:
    """Search the blend of files. target: the YAML to be written, whose stem is the ensemble's name.

    Returns the ensemble and the numbers of the report; boosters of a level 2 that is believed are written here.
    """
    metric, name = asked.metric, target.stem
    new_class = asked.options.rule.new_class
    if new_class and asked.level2 is not None:
        raise DataError("level 2 does not rank items that are in no class; leave out --level2 or --new-class")
    inputs = read_arrays(asked.files, asked.labels, metric, asked.groups, asked.folds, new_class)
    if asked.level2 is not None:
        require_level2_fits(inputs.cells, inputs.folds, asked.options.rule, asked.level2)
    drift = compare_tests(asked.tests, inputs, new_class)
    found = find_ensemble(inputs.cells, metric, inputs.folds, asked.options, progress)
    notes = inputs.notes + [one.note for one in drift if one.note is not None]
    notes += duplicate_notes(found.correlation, inputs.names)
    notes += score_notes(found.single_scores, inputs.names, metric)
    chance = check_chance(inputs.cells, inputs.names, metric, asked.options.rule, inputs.folds)
    spec = array_ensemble(name, inputs, found)
    level2: dict = {}
    stopped = found.interrupted
    folder = booster_folder(target)
    if asked.level2 is not None:
        source = array_level2(inputs, found)
        part, level2, more = add_level2(source, found, inputs.folds, asked.level2, folder, progress)
        notes += more
        stopped = not level2  # Ctrl-C, during the choice or in level 2
        if part is not None:
            spec = spec.model_copy(update={"level2": part, "prior": np.asarray(source.prior).tolist()})
    else:
        remove_boosters(folder)
    return spec, report_numbers(Report(name, found, inputs.names, notes, None, level2, drift, chance, stopped))


def compare_tests(tests: tuple[Path, ...], inputs: ArrayInputs, new_class: bool) -> list[Drift]:
    """Each member's predictions of the test set beside its out-of-fold ones. Raises DataError naming the file."""
    if tests and len(tests) != len(inputs.names):
        raise DataError(f"{len(tests)} files of --test for {len(inputs.names)} members; give one for each, in order")
    drifts = []
    for path, name, member in zip(tests, inputs.names, inputs.cells.values, strict=False):
        table = inputs.cells.dense(member)
        test = checked_probs(read_table(path).values, inputs.cells.kind, str(path))[0]
        drifts.append(member_drift(name, table[:, :-1] if new_class else table, test))
    return drifts


def array_level2(inputs: ArrayInputs, found: Found) -> Level2Source:
    """What level 2 is fitted on: the members that have weight."""
    cells = inputs.cells
    used = cells.take_members(found.used)
    tables = [cells.dense(member) for member in used.values]
    blended = found.used_blend.of(in_space(used, found.blend.solver))
    dense = cells.dense(blended)
    return Level2Source(
        [inputs.names[m] for m in found.used],
        lambda first, end: np.stack([table[first:end] for table in tables]),
        lambda first, end: dense[first:end],
        cells.with_values(blended[None]),
        None if cells.kind == "values" else class_prior(cells.targets, cells.classes),
    )


def blend_files(ensemble: Path, files: list[Path], out: Path, decided: Path | None = None) -> tuple[int, ...]:
    """Apply a found ensemble to other predictions of its members, in the order of the YAML. Returns the shape.

    out: .npy for the blended probabilities (or values); decided: .npy for the labels or grades they lead to.
    """
    spec = array_view(read_any_ensemble(ensemble))
    if len(files) != len(spec.members):
        names = ", ".join(member.name for member in spec.members)
        raise DataError(f"{len(files)} inputs for the {len(spec.members)} members of {ensemble}, in order: {names}")
    tables = [read_table(path) for path in files]
    first = tables[0]
    members = [checked_probs(align(table, first.ids, str(path)), spec.kind, str(path))[0]
               for table, path in zip(tables, files, strict=True)]  # fmt: skip
    blended = apply_ensemble(spec, members)
    if spec.level2 is not None:
        blended = level2_of_arrays(ensemble, spec, members, blended)
    write_array(out, blended)
    if decided is not None:
        answer = decide_ensemble(spec, blended)
        if answer is None:
            raise DataError(f"{ensemble}: metric {spec.metric.name!r} takes the numbers themselves; there is no "
                            "threshold to decide with, leave --decided out")  # fmt: skip
        write_array(decided, answer)
    return blended.shape

