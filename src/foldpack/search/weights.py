"""Blend weights of probabilities for any metric: a certified surrogate, a greedy search, and never below uniform."""

from __future__ import annotations

import numpy as np

from foldpack.metrics.classification import true_class_probs
from foldpack.metrics.registry import Metric, get_metric
from foldpack.search.greedy import greedy_weights
from foldpack.search.simplex import fit_log_loss, fit_squared_error
from foldpack.search.thresholds import best_threshold

GREEDY_CELLS = 2_000_000  # the greedy search looks at no more than about so many cells of a member


def fit_weights(probs: np.ndarray, y: np.ndarray, metric_name: str, min_labels: int = 1) -> np.ndarray:
    """Weights (M,) float64, >= 0, sum 1, of the mean of the members' predictions.

    probs: (M, n, C) float32 probabilities, or (M, n) values; y: (n,) int, (n, C) bool or (n,) float, as the metric
    wants. The best by the metric on these rows among: uniform, the optimum of the convex surrogate (log-loss or
    squared error), and a greedy search on the metric itself unless the surrogate is the metric. Deterministic.
    """
    metric = get_metric(metric_name)
    candidates = [np.full(len(probs), 1 / len(probs)), surrogate_weights(probs, y, metric)]
    if metric.name not in ("log_loss", "rmse"):
        step = max(1, probs[0].size // GREEDY_CELLS)
        rows = np.arange(0, len(y), step)
        candidates.append(greedy_weights(probs[:, rows], lambda blend: gain(blend, y[rows], metric, min_labels)))
    gains = [gain(np.tensordot(weights, probs, 1), y, metric, min_labels) for weights in candidates]
    return candidates[int(np.argmax(gains))]


def surrogate_weights(probs: np.ndarray, y: np.ndarray, metric: Metric) -> np.ndarray:
    """The optimum of the log-loss, or of the squared error for metrics of real values. Shapes as in `fit_weights`."""
    if metric.needs in ("values", "grades"):
        return fit_squared_error(probs, y.astype(np.float64)).weights
    return fit_log_loss(np.array([true_class_probs(y, p).ravel() for p in probs])).weights


def gain(blend: np.ndarray, y: np.ndarray, metric: Metric, min_labels: int = 1) -> float:
    """The metric of a blend, greater being better; an F-beta at its best threshold on these rows."""
    if metric.needs == "labels":
        return best_threshold(blend, y, metric.beta, min_labels, average=metric.average)[1]
    return metric.gain(y, blend)
