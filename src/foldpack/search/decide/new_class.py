"""Retrieval with items that belong to no class: where "new" stands in each ranking is one threshold on the scores.

As the threshold falls past a score, "new" moves down one place behind it: an item that is new loses, one whose true
class it has passed gains. Sorted and summed up, these changes are the whole curve of MAP@k over the threshold.
"""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.thresholds import top_classes


def best_new_score(table: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float]:
    """(threshold, MAP@k) over every distinct score, exactly. `ensemble.thresholds.with_new_score` applies it.

    table: (n, C + 1) float, its last column of no account; y: (n,) int, C for an item that is new.
    """
    others = table[:, :-1]
    ranked = top_classes(others, k)
    scores = np.take_along_axis(others, ranked, axis=1)
    new = y == others.shape[1]
    places = np.arange(1, scores.shape[1] + 1)
    after = np.where(places < k, 1 / (places + 1), 0.0)  # the worth of a right answer one place further down
    # "New" passes a score: a new item falls from its place to the next, a true class rises by one.
    change = np.where(new[:, None], after - 1 / places, np.where(ranked == y[:, None], 1 / places - after, 0.0))
    flat, change = scores.reshape(-1), change.reshape(-1)
    down = np.argsort(-flat, kind="stable")
    value = flat[down]
    hit = ranked == y[:, None]
    start = new.sum() + float((hit * after).sum())  # "new" first everywhere
    curve = np.append(start, start + np.cumsum(change[down])) / len(y)
    ends = np.append(0, np.flatnonzero(np.append(value[1:] != value[:-1], True)) + 1)  # ties are passed together
    best = ends[curve[ends].argmax()]
    return _between_scores(value, int(best)), float(curve[best])


def _between_scores(value: np.ndarray, passed: int) -> float:
    """A threshold that lies behind the first `passed` of the descending scores and before the others."""
    if passed == 0:
        return float(value[0]) + 1.0
    if passed == len(value):
        return float(value[-1]) / 2 if value[-1] > 0 else float(value[-1]) - 1.0
    high, low = float(value[passed - 1]), float(value[passed])
    middle = (high + low) / 2
    return middle if value.dtype.type(middle) > value[passed] else high  # at a score itself, "new" stands behind it


def new_column(items: int, classes: int) -> np.ndarray:
    """(n, 1) float32: the same for every member, so that no fit of weights sees it."""
    return np.full((items, 1), 1 / (classes + 1), dtype=np.float32)
