"""The search on files: ./ensemble_search.py NAME a.npy b.npy --labels y.npy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.array_spec import ArrayEnsemble, ArrayMember
from foldpack.search.cells.cells import Cells
from foldpack.search.checks.chance import check_chance
from foldpack.search.checks.drift import Drift, member_drift
from foldpack.search.checks.lint import duplicate_notes, score_notes
from foldpack.search.decide.decision import LabelRule, fit_decision
from foldpack.search.files.array_inputs import ArrayInputs, MemberInput, read_arrays
from foldpack.search.files.class_columns import by_name
from foldpack.search.files.inputs import in_order, predictions_in
from foldpack.search.files.member_scores import Scores, as_probs, require_finite, require_same_scores
from foldpack.search.files.tables import read_raw
from foldpack.search.find import Found, Progress, SearchOptions, find_ensemble
from foldpack.search.level2.files import booster_folder, remove_boosters
from foldpack.search.level2.fit import Level2Options, class_prior, require_level2_fits
from foldpack.search.level2.step import Level2Source, add_level2
from foldpack.search.report.report import Report, report_numbers
from foldpack.search.weights.solvers import in_space
from foldpack.settings.ensemble import MetricSpec
from foldpack.settings.stages import ScoreBlend


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
        blend=ScoreBlend.model_validate(
            {"space": blend.solver.space, "power": blend.solver.power, "scale": blend.scale, "bias": blend.bias}
        ),
        threshold=threshold,
        min_labels=found.rule.min_labels,
        max_labels=found.rule.max_labels,
        cuts=None if decision.cuts is None else decision.cuts.tolist(),
        new_score=decision.new_score,
        classes=inputs.classes,
        id_column=inputs.id_column,
        label_column=inputs.label_column,
        members=[array_member(inputs.members[m], float(blend.weights[m])) for m in found.used],
    )


def array_member(member: MemberInput, weight: float) -> ArrayMember:
    """A member's entry in the YAML."""
    return ArrayMember(name=member.name, weight=weight, sha256=member.digest, scores=member.scores,
                       temperature=member.temperature, column=member.column)


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


def search_arrays(target: Path, asked: ArraySearch, progress: Progress | None = None) -> tuple[ArrayEnsemble, dict]:
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
        require_same_scores(values, kind, member.scores, path, member.name)
        test = as_probs(values, kind, member.scores, path, member.temperature)[0]
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
