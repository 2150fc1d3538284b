"""The honest score: weights and threshold are fitted without the fold they are scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.ensemble.thresholds import decide
from foldpack.errors import DataError
from foldpack.metrics.registry import Metric, get_metric
from foldpack.search.thresholds import best_threshold
from foldpack.search.weights import fit_weights


@dataclass(frozen=True)
class NestedScore:
    """Scores on rows that took no part in the fit, one per fold in ascending order of fold id."""

    per_fold: np.ndarray  # (K,) of the fitted blend
    uniform_per_fold: np.ndarray  # (K,) of equal weights, their threshold fitted without the fold as well

    @property
    def mean(self) -> float:
        return float(self.per_fold.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean over folds."""
        return float(self.per_fold.std(ddof=1) / np.sqrt(len(self.per_fold)))

    @property
    def uniform(self) -> float:
        return float(self.uniform_per_fold.mean())


def cross_validated_score(
    probs: np.ndarray, y: np.ndarray, metric_name: str, folds: np.ndarray, min_labels: int = 1
) -> NestedScore:
    """Refit weights and threshold without each fold in turn and score them on it.

    probs, y: as in `fit_weights`; folds: (n,) int, at least two different ids. Groups are respected when the folds
    respect them.
    """
    ids = np.unique(folds)
    if len(ids) < 2:
        raise DataError(f"a nested score needs at least two folds, got {len(ids)}; give folds.csv with two or more")
    metric = get_metric(metric_name)
    scores = np.array([_score_fold(probs, y, metric, folds == fold, min_labels) for fold in ids])
    return NestedScore(scores[:, 0], scores[:, 1])


def _score_fold(probs, y, metric: Metric, held_out: np.ndarray, min_labels: int) -> tuple[float, float]:
    """(score of the fitted weights, score of equal weights) on the held-out rows, everything fitted on the rest."""
    weights = fit_weights(probs[:, ~held_out], y[~held_out], metric.name, min_labels)
    uniform = np.full(len(probs), 1 / len(probs))
    fitted, equal = (np.tensordot(w, probs, 1) for w in (weights, uniform))
    return (
        score_held_out(fitted, y, metric, held_out, min_labels),
        score_held_out(equal, y, metric, held_out, min_labels),
    )


def score_held_out(blend, y, metric: Metric, held_out: np.ndarray, min_labels: int) -> float:
    """The metric on the held-out rows, an F-beta at the threshold that is best on the other rows."""
    if metric.needs != "labels":
        return metric(y[held_out], blend[held_out])
    threshold, _ = best_threshold(blend[~held_out], y[~held_out], metric.beta, min_labels, average=metric.average)
    return metric(y[held_out], decide(blend[held_out], threshold, min_labels))
