"""Which predictions are certain enough to be labels: arrays in, rows out."""

from __future__ import annotations

import numpy as np


def sure_classes(probs: np.ndarray, confidence: float | None = None, gap: float | None = None,
                 per_class: int | None = None) -> np.ndarray:
    """Rows, ascending, of (n, C) float32 probabilities that sum to 1.

    confidence: the likeliest class has at least this probability. gap: its logit is at least so far above the second's
    (1st place, Kuzushiji Recognition 2019). per_class: of each predicted class the surest, at most so many; of equally
    sure ones the first.
    """
    top = np.sort(probs, axis=1)[:, -2:].astype(np.float64)
    sure = np.ones(len(probs), dtype=bool)
    if confidence is not None:
        sure &= top[:, 1] >= confidence
    if gap is not None:
        with np.errstate(divide="ignore"):
            sure &= np.log(top[:, 1]) - np.log(top[:, 0]) >= gap
    rows = np.flatnonzero(sure)
    if per_class is None:
        return rows
    classes = probs[rows].argmax(axis=1)
    kept = [rows[classes == name][np.argsort(-top[rows[classes == name], 1], kind="stable")[:per_class]]
            for name in np.unique(classes)]
    return np.sort(np.concatenate(kept)) if kept else rows


def sure_labels(probs: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rows of (n, C) probabilities of several labels of which each is certain: at most `low`, or at least `high`."""
    return np.flatnonzero(((probs <= low) | (probs >= high)).all(axis=1))


def sure_values(spread: np.ndarray, most: float) -> np.ndarray:
    """Rows of (n, T) whose values differ by at most so much: `spread` is a standard deviation."""
    return np.flatnonzero((spread <= most).all(axis=1))


def confidence_of(probs: np.ndarray, exclusive: bool) -> np.ndarray:
    """(n,) float32: how sure a row is: the probability of the likeliest class; of several labels that of the least
    certain one to be, or not to be, there."""
    if exclusive:
        return probs.max(axis=1)
    return np.maximum(probs, 1 - probs).min(axis=1)
