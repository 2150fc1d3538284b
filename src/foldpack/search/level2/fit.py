"""Fit level 2 and decide whether to believe it.

For every outer fold a LightGBM and an XGBoost are trained on the other folds, one of which only says when to stop
(and, with `--level2-trials`, which settings are best); their mean is scored on the outer fold, which has decided
nothing. The kernel takes the mean of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np

from foldpack.ensemble.candidates import CandidateTable, MemberRows, candidate_blocks, candidate_columns
from foldpack.ensemble.level2 import read_booster
from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells
from foldpack.search.decide.decision import Fitted, LabelRule, fit_decision, score_cells
from foldpack.search.level2.boosters import BoosterFit, fit_booster
from foldpack.search.level2.tuning import Tuning, tuned_settings
from foldpack.search.studies import open_storage
from foldpack.search.weights.selection import standard_error

KINDS = ("lightgbm", "xgboost")
LEAK_ROWS, LEAK_PROB = 20, 0.5  # a class with so many rows, all true, although the blend doubts it


@dataclass(frozen=True)
class Level2Options:
    """top: classes a member puts forward; seeds: boosters of each kind a fold; reject: the class "none of these".

    settings: by kind, over `boosters.SETTINGS`; tuning: search better ones inside every outer fold.
    """

    top: int = 3
    seeds: int = 1
    reject: int | None = None
    threads: int = 1
    settings: dict[str, dict] = field(default_factory=dict)
    tuning: Tuning | None = None


@dataclass(frozen=True)
class FoldBooster:
    """One booster: kind "lightgbm" or "xgboost", the outer fold it never saw, its seed and its text."""

    kind: str
    fold: int
    seed: int
    text: str


@dataclass(frozen=True)
class Level2:
    """What came of the fit."""

    boosters: list[FoldBooster]
    options: Level2Options
    cells: Cells  # one "member": level 2 out of fold; every candidate and every true cell, 0 where that is none
    decision: Fitted
    score: float  # of all rows out of fold, with this decision
    per_fold: np.ndarray  # (K,) the metric, decision fitted on the other folds
    blend_per_fold: np.ndarray  # (K,) of the blend, its decision fitted on the other folds
    importance: dict[str, float]  # share of LightGBM's gain
    notes: list[str]

    @property
    def mean(self) -> float:
        return float(self.per_fold.mean())

    @property
    def se(self) -> float:
        return standard_error(self.per_fold)

    def gain(self, metric: Metric) -> tuple[float, float]:
        """(mean, standard error) of the paired gain over the blend, greater is better."""
        ahead = (self.per_fold - self.blend_per_fold) * (1 if metric.greater_is_better else -1)
        return float(ahead.mean()), standard_error(ahead)

    def believed(self, metric: Metric) -> bool:
        """The nested gain is above one standard error, and nothing in the table gives the truth away."""
        gain, error = self.gain(metric)
        return not self.notes and gain > max(error, 1e-12)


def fit_level2(
    table: CandidateTable,
    blend: Cells,
    folds: np.ndarray,
    metric: Metric,
    rule: LabelRule | None = None,
    options: Level2Options | None = None,
    names: list[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Level2:
    """Fit level 2 on the candidates of out-of-fold predictions.

    blend: one "member", the blend that level 2 has to beat, with the targets; folds: (items,) int, three or more;
    names: of the members, for the importance of their features.
    """
    rule, options = rule or LabelRule(), options or Level2Options()
    require_level2_fits(blend, folds, rule, options)
    ids = np.unique(folds)
    truth = candidate_truth(table, blend.targets)
    notes = presence_leaks(table, truth, blend)
    scores, boosters = np.zeros(len(truth), dtype=np.float32), []
    for number, fold in enumerate(ids):
        stop = folds[table.item] == ids[(number + 1) % len(ids)]
        held = folds[table.item] == fold
        task = BoosterFit(table.features, truth, ~(held | stop), stop, options.threads)
        fitted = _fit_fold(task, int(fold), options)
        outputs = [read_booster(one.kind, one.text)(table.features[held]) for one in fitted]
        scores[held] = np.mean(outputs, axis=0)
        boosters += fitted
        if progress:
            progress((number + 1) / len(ids))
    cells = candidate_cells(table, scores, blend)
    return Level2(
        boosters,
        options,
        cells,
        *fit_decision(cells, cells.values[0], metric, rule),
        score_by_fold(cells, folds, metric, rule),
        score_by_fold(blend, folds, metric, rule),
        feature_importance(boosters, names),
        notes,
    )


def require_level2_fits(cells: Cells, folds: np.ndarray, rule: LabelRule, options: Level2Options) -> None:
    """Raises DataError where a level 2 cannot be fitted, or its study not be opened: asked before a long search."""
    if cells.kind == "values" or cells.classes < 2:
        raise DataError("level 2 chooses among classes; it needs predictions of two or more classes an item")
    if len(np.unique(folds)) < 3:
        raise DataError(f"level 2 needs three folds or more (to train, to stop, to score), got {len(np.unique(folds))}")
    if cells.kind == "labels" and rule.min_labels > options.top:
        raise DataError(f"level 2 looks at {options.top} classes of each member: too few for {rule.min_labels} labels")
    if options.reject is not None and options.reject >= cells.classes:
        raise DataError(f"--level2-reject {options.reject}: the classes are 0 to {cells.classes - 1}")
    if options.tuning is not None:
        open_storage(options.tuning.study)


def gather_candidates(
    members: MemberRows, blend: Callable[[int, int], np.ndarray], prior: np.ndarray, items: int, options: Level2Options
) -> CandidateTable:
    """The table of all items, from blocks of rows: see `candidate_blocks`."""
    item, label, features = [], [], []
    for first, _, table in candidate_blocks(members, blend, prior, items, options.top, options.reject):
        item.append(table.item + np.int32(first))
        label.append(table.label)
        features.append(table.features)
    return CandidateTable(np.concatenate(item), np.concatenate(label), np.concatenate(features))


def candidate_cells(table: CandidateTable, scores: np.ndarray, blend: Cells) -> Cells:
    """Level 2 as cells: every candidate with its score (R,), every true cell that is no candidate with 0."""
    keys = table.item * np.int64(blend.classes) + table.label
    if blend.targets.ndim == 2:
        true = np.flatnonzero(blend.targets.reshape(-1))
    else:
        true = np.arange(blend.items) * np.int64(blend.classes) + blend.targets
    every = np.union1d(keys, true)
    values = np.zeros((1, len(every)), dtype=np.float32)
    values[0, np.searchsorted(every, keys)] = scores
    row, column = (part.astype(np.int32) for part in np.divmod(every, blend.classes))
    return Cells(blend.kind, values, row, column, blend.items, blend.classes, blend.targets, False, blend.groups)


def class_prior(targets: np.ndarray, classes: int) -> np.ndarray:
    """(C,) float32 share of each class in the labels."""
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=classes)
    return (counts / len(targets)).astype(np.float32)


def candidate_truth(table: CandidateTable, targets: np.ndarray) -> np.ndarray:
    """(R,) bool: whether each candidate is right."""
    return targets[table.item, table.label] if targets.ndim == 2 else targets[table.item] == table.label


def presence_leaks(table: CandidateTable, truth: np.ndarray, blend: Cells) -> list[str]:
    """A line for every class whose mere presence among the candidates tells the truth, though the blend doubts it.

    Such a table was made with the labels at hand (a reject class that was added only where it is right, say): the
    kernel cannot make the same one, and the gain would be lost there.
    """
    rows = np.bincount(table.label, minlength=blend.classes)
    right = np.bincount(table.label[truth], minlength=blend.classes)
    given = np.bincount(table.label, blend_of_candidates(table, blend), blend.classes) / np.maximum(rows, 1)
    suspects = np.flatnonzero((rows >= LEAK_ROWS) & (right == rows) & (given < LEAK_PROB))
    return [f"class {c} is a candidate {rows[c]} times and right every time, though the blend gives it {given[c]:.2f} "
            "on average: its presence tells the truth, level 2 is not believed" for c in suspects]


def blend_of_candidates(table: CandidateTable, blend: Cells) -> np.ndarray:
    """(R,) the blend's number for each candidate; 0 where a compact store has dropped it."""
    known = blend.row * np.int64(blend.classes) + blend.column
    wanted = table.item * np.int64(blend.classes) + table.label
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, blend.values[0][place], 0)


def score_by_fold(cells: Cells, folds: np.ndarray, metric: Metric, rule: LabelRule) -> np.ndarray:
    """(K,) scores of one set of predictions, thresholds fitted on the other folds."""
    scores = []
    for fold in np.unique(folds):
        train, held = cells.take_items(folds != fold), cells.take_items(folds == fold)
        decision = None
        if rule.decides(metric):
            decision = fit_decision(train, train.values[0], metric, rule)[0]
        scores.append(score_cells(held, held.values[0], metric, decision, rule))
    return np.array(scores)


def feature_importance(boosters: list[FoldBooster], names: list[str] | None) -> dict[str, float]:
    """Share of LightGBM's gain by feature; names: of the members, or None for a table of one's own."""
    gains = [lgb.Booster(model_str=one.text).feature_importance("gain") for one in boosters if one.kind == "lightgbm"]
    total = np.sum(gains, axis=0)
    columns = candidate_columns(names) if names is not None else [str(column) for column in range(len(total))]
    return dict(zip(columns, (total / max(total.sum(), 1e-12)).tolist(), strict=True))


def _fit_fold(task: BoosterFit, fold: int, options: Level2Options) -> list[FoldBooster]:
    boosters = []
    for kind in KINDS:
        settings = options.settings.get(kind, {})
        if options.tuning is not None:
            settings = settings | tuned_settings(kind, task, fold, settings, options.tuning)
        for seed in range(options.seeds):
            boosters.append(FoldBooster(kind, fold, seed, fit_booster(kind, task, seed, settings)[0]))
    return boosters
