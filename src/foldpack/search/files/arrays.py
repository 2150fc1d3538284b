"""The search on files: ./ensemble_search.py NAME a.npy b.npy --labels y.npy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells
from foldpack.search.checks.chance import check_chance
from foldpack.search.checks.drift import Drift, member_drift
from foldpack.search.checks.lint import duplicate_notes, score_notes
from foldpack.search.decide.decision import LabelRule, fit_decision
from foldpack.search.files.array_inputs import ArrayInputs, read_arrays
from foldpack.search.files.blend_spec import LINK_OF
from foldpack.search.files.class_columns import by_name
from foldpack.search.files.inputs import in_order, predictions_in
from foldpack.search.files.member_scores import Scores, as_probs, decide_scores, require_finite, require_same_scores
from foldpack.search.files.tables import read_raw
from foldpack.search.find import Found, Progress, SearchOptions, find_ensemble
from foldpack.search.level2.files import booster_folder, remove_boosters
from foldpack.search.level2.fit import Level2Options, class_prior, require_level2_fits
from foldpack.search.level2.step import Level2Source, add_level2
from foldpack.search.report.report import Report, report_numbers
from foldpack.search.spec_parts import decision_spec, fuse_spec, metric_spec
from foldpack.search.weights.solvers import in_space
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.file_members import FilesSpec
from foldpack.settings.outputs import Classes, Values
from foldpack.settings.stages import StageSpec


def files_ensemble(name: str, inputs: ArrayInputs, found: Found) -> EnsembleSpec:
    """The YAML of what was found."""
    cells, weights = inputs.cells, found.blend.weights
    members = [inputs.members[m].model_copy(update={"weight": float(weights[m])}) for m in found.used]
    outputs: Classes | Values
    if cells.kind == "values":
        outputs = Values(names=inputs.classes, prior=[float(cells.targets.mean())])
    else:
        prior = class_prior(cells.targets, cells.classes)[: len(inputs.classes)].tolist()  # "in no class" is none
        outputs = Classes(link=LINK_OF[cells.kind], names=inputs.classes, prior=prior)
    return EnsembleSpec(
        name=name,
        metric=metric_spec(found),
        stages=[StageSpec(
            name="blend",
            task="blend",
            outputs=outputs,
            files=FilesSpec(members=members, id_column=inputs.id_column, label_column=inputs.label_column),
            fuse=fuse_spec(found.blend),
            decision=decision_spec(found.metric, cells.kind, found.decision, found.rule),
        )],
    )


@dataclass(frozen=True)
class ArraySearch:
    """What a search of files is asked for. metric: fitted for; level2: also try a level 2, and with which options;

    tests: each member's predictions of the test set, to be compared with its out-of-fold ones; scores: what all numbers
    are, None: told by their range.
    """

    files: list[Path]
    labels: Path
    metric: Metric
    groups: Path | None = None
    folds: Path | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    level2: Level2Options | None = None
    tests: tuple[Path, ...] = ()
    scores: Scores | None = None


def search_arrays(target: Path, asked: ArraySearch, progress: Progress | None = None) -> tuple[EnsembleSpec, dict]:
    """Search the blend of files. target: the YAML to be written, whose stem is the ensemble's name.

    Returns the ensemble and the numbers of the report; boosters of a level 2 that is believed are written here.
    """
    metric, name = asked.metric, target.stem
    new_class = asked.options.rule.new_class
    if new_class and asked.level2 is not None:
        raise DataError("level 2 does not rank items that are in no class; leave out --level2 or --new-class")
    inputs = read_arrays(asked.files, asked.labels, metric, asked.groups, asked.folds, new_class,
                         asked.scores)
    options = asked.options
    if metric.needs == "labels" and inputs.cells.classes == 1 and options.rule.min_labels:
        options = replace(options, rule=replace(options.rule, min_labels=0))  # else every item would get the label
        inputs.notes.append("one column: an item may go without the label (--min-labels 0)")
    if asked.level2 is not None:
        require_level2_fits(inputs.cells, inputs.folds, options.rule, asked.level2)
    drift = compare_tests(asked.tests, inputs, new_class)
    require_a_score(inputs.cells, metric, options.rule, asked.labels)
    found = find_ensemble(inputs.cells, metric, inputs.folds, options, progress)
    notes = inputs.notes + [one.note for one in drift if one.note is not None]
    notes += duplicate_notes(found.correlation, inputs.names)
    notes += score_notes(found.single_scores, inputs.names, metric)
    chance = check_chance(inputs.cells, inputs.names, metric, options.rule, inputs.folds)
    spec = files_ensemble(name, inputs, found)
    level2: dict = {}
    stopped = found.interrupted
    folder = booster_folder(target)
    if asked.level2 is not None:
        source = array_level2(inputs, found)
        part, level2, more = add_level2(source, found, inputs.folds, asked.level2, folder, progress)
        notes += more
        stopped = not level2  # Ctrl-C, during the choice or in level 2
        if part is not None:
            spec = spec.with_last(level2=[part])
    else:
        remove_boosters(folder)
    return spec, report_numbers(Report(name, found, inputs.names, notes, None, level2, drift, chance, stopped))


def require_a_score(cells: Cells, metric: Metric, rule: LabelRule, labels: Path) -> None:
    """Raises DataError where the metric of equal weights is no number, so that nothing can be sought."""
    score = fit_decision(cells, cells.values.mean(axis=0), metric, rule)[1]
    if not np.isfinite(score):
        raise DataError(f"metric {metric.name!r} is {score} for the members' mean, so there is nothing to find; does "
                        f"{labels} hold more than one class?")


def compare_tests(tests: tuple[Path, ...], inputs: ArrayInputs, new_class: bool) -> list[Drift]:
    """Each member's predictions of the test set beside its out-of-fold ones. Raises DataError naming the file."""
    if len({path.resolve() for path in tests}) != len(tests):
        raise DataError("a file of --test is named twice; give each member's own")
    if tests and len(tests) != len(inputs.names):
        raise DataError(f"{len(tests)} files of --test for {len(inputs.names)} members; give one for each, in order")
    drifts = []
    known = inputs.classes if len(inputs.classes) > 1 else None
    for path, member, probs in zip(tests, inputs.members, inputs.cells.values, strict=False):
        table, kind = inputs.cells.dense(probs), inputs.cells.kind
        raw, ids = in_order(read_raw(path), None, path, inputs.id_column)
        found = predictions_in(raw, None if ids is None else ids.name, known)[0]
        values = found.values if known is None else by_name(found, known, path, member.name)[0]
        require_finite(values, path)
        scores = member.scores or decide_scores(values, kind)
        require_same_scores(values, kind, scores, path, member.name)
        test = as_probs(values, kind, scores, path, member.temperature)[0]
        drifts.append(member_drift(member.name, table[:, :-1] if new_class else table, test))
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
