"""Scores of one column of probabilities, class 1 against class 0: weighted ROC AUC and probabilistic F1.

y: (n,) of 0 and 1 or bool; p: (n,), or (n, 2) whose second column counts: which class is the second changes the score.
"""

from __future__ import annotations

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.metrics.shapes import class_shapes, descending

ALASKA_LIMITS = (0.0, 0.4, 1.0)  # of the true positive rate
ALASKA_WEIGHTS = (2.0, 1.0)  # of the bands between them


def one_class(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool and (n,) float. Raises FoldpackError for more classes than two."""
    y, p = class_shapes(y, p)
    if y.ndim == 2 or (p.ndim == 2 and p.shape[1] != 2):
        raise FoldpackError(f"the predictions have shape {p.shape}; this metric is of two classes: needed (n,) or (n, "
                            "2)")
    return y == 1, p if p.ndim == 1 else p[:, 1]


def roc_points(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate, both ascending from 0 to 1; equal scores are one step. y: (n,) bool, both there."""
    order = np.argsort(descending(p), kind="stable")
    ordered, true = p[order], y[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.concatenate(([0], np.cumsum(true)[last]))
    false = np.concatenate(([0], np.cumsum(~true)[last]))
    return false / false[-1], hits / hits[-1]


def weighted_auc(y: np.ndarray, p: np.ndarray) -> float:
    """ROC AUC in which the area below a true positive rate of 0.4 counts twice (ALASKA2), 1 for a perfect order.

    The area between two rates is that of the curve cut at them, exactly. The organisers' published script takes only
    points strictly between the rates, so that it fails on a perfect order. NaN where one class only is there.
    """
    truth, score = one_class(y, p)
    if truth.all() or not truth.any():
        return float("nan")
    false, true = roc_points(truth, score)
    total = 0.0
    for low, high, weight in zip(ALASKA_LIMITS[:-1], ALASKA_LIMITS[1:], ALASKA_WEIGHTS, strict=True):
        total += weight * band_area(false, true, low, high)
    return float(total / np.dot(np.diff(ALASKA_LIMITS), ALASKA_WEIGHTS))


def band_area(false: np.ndarray, true: np.ndarray, low: float, high: float) -> float:
    """Area under a piecewise linear curve, cut below at `low` and above at `high`, from 0 to 1."""
    for level in (low, high):  # the curve's own points at the levels: between them it is linear, and so is the cut
        place = int(np.searchsorted(true, level))
        if 0 < place < len(true) and true[place] != level:
            share = (level - true[place - 1]) / (true[place] - true[place - 1])
            false = np.insert(false, place, false[place - 1] + share * (false[place] - false[place - 1]))
            true = np.insert(true, place, level)
    return float(np.trapezoid(np.clip(true, low, high) - low, false))


def probabilistic_f1(y: np.ndarray, p: np.ndarray) -> float:
    """F1 whose counts are sums of probabilities (RSNA screening mammography): no threshold decides.

    Precision: sum of p over true items / sum of p; recall: sum of p over true items / their number. p is cut to [0, 1].
    0 where either is; NaN without a true item.
    """
    truth, score = one_class(y, p)
    score = np.clip(score.astype(np.float64), 0, 1)
    if not truth.any():
        return float("nan")
    hits, said = float(score[truth].sum()), float(score.sum())
    return 2 * hits / (said + int(truth.sum()))
