"""From probabilities to decisions: labels by thresholds, the best classes, grades by cuts."""

from __future__ import annotations

import numpy as np


def decide(
    probs: np.ndarray, threshold: float | np.ndarray, min_labels: int = 0, max_labels: int | None = None
) -> np.ndarray:
    """(n, C) float probabilities -> (n, C) bool: taken are those at or above the threshold (one, or (C,) per class).

    An item with fewer than `min_labels` gets those nearest to their threshold; of more than `max_labels` only the
    furthest above it stay.
    """
    taken = probs >= np.asarray(threshold, dtype=probs.dtype)
    order = probs - np.asarray(threshold, dtype=probs.dtype) if np.ndim(threshold) else probs
    if min_labels > 0:
        taken |= highest_labels(order, min_labels)
    if max_labels is not None and max_labels < probs.shape[1]:
        taken &= highest_labels(order, max_labels)
    return taken


def highest_labels(scores: np.ndarray, count: int) -> np.ndarray:
    """(n, C) float -> (n, C) bool: exactly `count` (at most C) highest scores of every row, ties to the lower class."""
    chosen = np.zeros(scores.shape, dtype=bool)
    if count >= scores.shape[1]:
        return ~chosen
    left = scores if count == 1 else scores.copy()
    for _ in range(count):
        best = left.argmax(axis=1)[:, None]
        np.put_along_axis(chosen, best, True, axis=1)
        if count > 1:
            np.put_along_axis(left, best, -np.inf, axis=1)
    return chosen


def with_new_score(probs: np.ndarray, score: float, rank: int | None = None) -> np.ndarray:
    """(n, C + 1): the same scores, with a last column of "in no class" that is `score` for every item.

    Sorted with equal scores in column order, "in no class" stands behind the classes that reach it; but never behind
    place `rank` (from 1): where more classes reach it, the best of them are lifted and it stands right behind those.
    """
    table = probs.copy()
    table[:, -1] = score
    if rank is None:
        return table
    late = np.flatnonzero((table[:, :-1] >= score).sum(axis=1) >= rank)
    highest = table[late].max(axis=1)
    step = np.maximum(np.abs(highest), 1)  # so large that no two of what is lifted become equal
    table[late, -1] = highest + step
    for place, column in enumerate(top_classes(table[late, :-1], rank)[:, : rank - 1].T):
        table[late, column] = highest + step * (rank + 1 - place)
    return table


def cut_grades(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """(n,) float -> (n,) int64 grades: how many of the ascending cut points lie at or below each value."""
    return np.searchsorted(cuts, values, side="right")


def cut_values(values: np.ndarray, limits: list[float] | tuple[float, float]) -> np.ndarray:
    """The same values, those below the lowest limit or above the highest brought to it. Their type stays."""
    return np.clip(values, *np.asarray(limits, dtype=values.dtype))


def top_classes(probs: np.ndarray, count: int) -> np.ndarray:
    """(n, C) -> (n, count) int64, best first; equal ones in column order."""
    if count >= probs.shape[1]:
        return np.argsort(-probs, axis=1, kind="stable")
    near = np.argpartition(-probs, count - 1, axis=1)[:, :count]
    near.sort(axis=1)
    order = np.argsort(-np.take_along_axis(probs, near, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(near, order, axis=1)
    last = np.take_along_axis(probs, best[:, -1:], axis=1)
    tied = np.flatnonzero((probs >= last).sum(axis=1) > count)  # argpartition took any of the equal ones
    best[tied] = np.argsort(-probs[tied], axis=1, kind="stable")[:, :count]
    return best
