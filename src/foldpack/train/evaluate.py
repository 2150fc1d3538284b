"""Score out-of-fold probabilities with a run's metric; multi-label metrics get their best threshold."""

from __future__ import annotations

import numpy as np

from foldpack.metrics.registry import Metric
from foldpack.search.decide.best_threshold import best_threshold


def score_probs(metric: Metric, targets: np.ndarray, probs: np.ndarray, min_labels: int = 1) -> float:
    """The metric of (n, C) probabilities. Metrics of label sets are taken at their best global threshold."""
    if metric.needs == "labels":
        return best_threshold(probs, targets, metric.beta, min_labels=min_labels, average=metric.average)[1]
    return metric(targets, probs)


def is_defined(metric: Metric, targets: np.ndarray, classes: int) -> bool:
    """Whether predictions of these items can be scored: an AUC needs two classes. targets: (n,) int or (n, C) bool."""
    if metric.needs == "labels":
        return True
    return not np.isnan(metric(targets, np.full((len(targets), classes), 1 / classes, dtype=np.float32)))


def is_better(metric: Metric, score: float, best: float | None) -> bool:
    """Whether a score beats the best so far in the metric's own direction. NaN never does."""
    if best is None or np.isnan(best):
        return not np.isnan(score)
    return score > best if metric.greater_is_better else score < best
