"""From multi-label probabilities to decisions: a threshold, at least so many labels, at most so many."""

from __future__ import annotations

import numpy as np


def decide(
    probs: np.ndarray, threshold: float | np.ndarray, min_labels: int = 0, max_labels: int | None = None
) -> np.ndarray:
    """(n, C) float probabilities -> (n, C) bool: taken are those at or above the threshold (one, or (C,) per class).

    An item with fewer than `min_labels` gets those nearest to their threshold; of more than `max_labels` only the
    furthest above it stay.
    """
    margin = probs - np.asarray(threshold, dtype=probs.dtype)
    taken = margin >= 0
    if min_labels > 0:
        taken |= highest_labels(margin, min_labels)
    if max_labels is not None and max_labels < probs.shape[1]:
        taken &= highest_labels(margin, max_labels)
    return taken


def highest_labels(scores: np.ndarray, count: int) -> np.ndarray:
    """(n, C) float -> (n, C) bool: exactly `count` (at most C) highest scores of every row."""
    chosen = np.zeros(scores.shape, dtype=bool)
    if count == 1:
        np.put_along_axis(chosen, scores.argmax(axis=1)[:, None], True, axis=1)
    elif count >= scores.shape[1]:
        chosen[:] = True
    elif count > 1:
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        np.put_along_axis(chosen, best, True, axis=1)
    return chosen


def cut_grades(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """(n,) float -> (n,) int64 grades: how many of the ascending cut points lie at or below each value."""
    return np.searchsorted(cuts, values, side="right")
