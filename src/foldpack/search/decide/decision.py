"""The last step of a blend, fitted with it: thresholds or cut points; and the score after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.ensemble.thresholds import cut_grades, cut_values, with_new_score
from foldpack.metrics.classification import SMALLEST_PROB
from foldpack.metrics.fbeta import fbeta_from_counts
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells
from foldpack.search.decide.best_threshold import best_cell_threshold, forced_cells
from foldpack.search.decide.class_thresholds import best_class_thresholds
from foldpack.search.decide.cuts import best_cuts
from foldpack.search.decide.new_class import best_new_class
from foldpack.search.decide.queries import weighted_score
from foldpack.settings.stages import GradesDecision, LabelsDecision, RankingDecision

# A last step with numbers that were fitted, as the YAML has it; None: the metric has none to fit.
Fitted = LabelsDecision | GradesDecision | RankingDecision | None


@dataclass(frozen=True)
class LabelRule:
    """How labels are chosen for an F-beta. min_labels, max_labels: of an item; per_class: a threshold for each.

    new_class: for MAP@k, the last class means "in none of the others", and its score is fitted. range: of values, which
    are cut to it; grades: how many there are, where some rows may not have all.
    """

    min_labels: int = 1
    max_labels: int | None = None
    per_class: bool = False
    new_class: bool = False
    range: tuple[float, float] | None = None
    grades: int | None = None

    def decides(self, metric: Metric) -> bool:
        """Whether the metric has a last step to fit."""
        return self.new_class or metric.needs in ("labels", "grades")


def fit_decision(cells: Cells, blend: np.ndarray, metric: Metric, rule: LabelRule) -> tuple[Fitted, float]:
    """The best last step on these cells, and the score with it. blend: (N,) float32."""
    if metric.needs == "labels":
        threshold, score = best_cell_threshold(
            cells, blend, metric.beta, rule.min_labels, rule.max_labels, metric.average
        )
        labels = LabelsDecision(threshold=threshold, min_labels=rule.min_labels, max_labels=rule.max_labels)
        if not rule.per_class:
            return labels, score
        thresholds = best_class_thresholds(cells, blend, metric.beta, metric.average, threshold)
        labels = labels.model_copy(update={"threshold": thresholds.tolist()})
        return labels, score_cells(cells, blend, metric, labels, rule)
    if metric.needs == "grades":
        cuts, score = best_cuts(blend, cells.targets, rule.grades or int(cells.targets.max()) + 1)
        return GradesDecision(cuts=cuts.tolist()), score
    if rule.new_class:
        new = best_new_class(cells.dense(blend), cells.targets, metric.map_at, cells.weights)
        return RankingDecision(k=metric.map_at, none_score=new.threshold, none_rank=new.rank), new.score
    return None, score_cells(cells, blend, metric, None, rule)


def score_cells(cells: Cells, blend: np.ndarray, metric: Metric, decision: Fitted, rule: LabelRule) -> float:
    """The metric of a blend (N,) under a given last step, in the metric's own direction."""
    if isinstance(decision, LabelsDecision):
        return _fbeta_of(cells, select_labels(cells, blend, decision), metric)
    if isinstance(decision, GradesDecision):
        return metric(cells.targets.astype(np.int64), cut_grades(blend, np.asarray(decision.cuts, blend.dtype)))
    if metric.needs == "values" and rule.range is not None:
        return metric(cells.targets, cut_values(cells.dense(blend), rule.range), cells.groups)
    if decision is not None and decision.none_score is not None:
        table = with_new_score(cells.dense(blend), decision.none_score, decision.none_rank)
        return weighted_score(metric, cells.targets, table, cells.weights)
    if cells.weights is not None:
        return weighted_score(metric, cells.targets, cells.dense(blend), cells.weights)
    if metric.name == "log_loss" and cells.kind == "exclusive":
        return float(-np.log(np.clip(blend[cells.y], SMALLEST_PROB, 1), dtype=np.float64).mean())
    targets = cells.targets[:, 0] if cells.kind == "labels" and cells.classes == 1 else cells.targets
    return metric(targets, cells.dense(blend), cells.groups)


def select_labels(cells: Cells, blend: np.ndarray, decision: LabelsDecision) -> np.ndarray:
    """(N,) bool: the cells decided on, as `ensemble.thresholds.decide` would on the dense table."""
    threshold = np.asarray(decision.threshold, dtype=blend.dtype)
    order = blend - threshold[cells.column] if threshold.ndim else blend
    limit = 0 if threshold.ndim else threshold
    always, never = forced_cells(cells, order, decision.min_labels, decision.max_labels)
    return ((order >= limit) | always) & ~never


def _fbeta_of(cells: Cells, decided: np.ndarray, metric: Metric) -> float:
    taken = np.flatnonzero(decided)  # few of the cells
    right = taken[cells.y[taken]]
    if metric.average == "micro":
        return float(fbeta_from_counts(len(right), len(taken), cells.true_counts.sum(), metric.beta))
    macro = metric.average == "macro"
    group, groups = (cells.column, cells.classes) if macro else (cells.row, cells.items)
    hits, selected = (np.bincount(group[part], minlength=groups) for part in (right, taken))
    true = cells.class_counts if macro else cells.true_counts
    return float(fbeta_from_counts(hits, selected, true, metric.beta).mean())
