"""Retrieval with items that belong to no class: where "new" stands in each ranking is a threshold on the scores, and
the last place that it may have.

As the threshold falls past a score, "new" moves down one place behind it: an item that is new loses, one whose true
class it has passed gains. Sorted and summed up, these changes are the whole curve of MAP@k over the threshold. Where
"new" may stand at place r at the latest, the changes from there on are none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.ensemble.thresholds import top_classes

WORTH_A_RANK = 1e-9  # of MAP@k: sums of other order


@dataclass(frozen=True)
class NewClass:
    """threshold: "new" stands behind the scores that reach it; rank: but at this place at the latest, None: anywhere,
    or not at all; score: the MAP@k with it."""

    threshold: float
    rank: int | None
    score: float


def best_new_class(table: np.ndarray, y: np.ndarray, k: int, weights: np.ndarray | None = None) -> NewClass:
    """The best of every distinct score and every place, exactly. `ensemble.thresholds.with_new_score` applies it.

    table: (n, C + 1) float, its last column of no account; y: (n,) int, C for an item that is new; weights: (n,) how
    much each counts, None: all alike. A rank is taken only where it is better than none.
    """
    others = table[:, :-1]
    ranked = top_classes(others, k)
    scores = np.take_along_axis(others, ranked, axis=1)
    new, hit = y == others.shape[1], ranked == y[:, None]
    weights = np.ones(len(y)) if weights is None else weights
    places = np.arange(1, scores.shape[1] + 1)
    after = np.where(places < k, 1 / (places + 1), 0.0)  # the worth of a right answer one place further down
    # "New" passes a score: a new item falls from its place to the next, a true class rises by one.
    change = np.where(new[:, None], after - 1 / places, np.where(hit, 1 / places - after, 0.0))
    change = (change * weights[:, None]).reshape(-1)
    down = np.argsort(-scores.reshape(-1), kind="stable")
    value, change, place = scores.reshape(-1)[down], change[down], np.tile(places, len(y))[down]
    start = float((weights * (new + (hit * after).sum(axis=1))).sum())  # "new" first everywhere
    ends = np.append(0, np.flatnonzero(np.append(value[1:] != value[:-1], True)) + 1)  # ties are passed together
    best = NewClass(0.0, None, -np.inf)
    for rank in [None, *range(places[-1], 1, -1)]:
        moves = change if rank is None else np.where(place < rank, change, 0.0)
        curve = np.append(start, start + np.cumsum(moves)) / weights.sum()
        passed = ends[curve[ends].argmax()]
        if curve[passed] > best.score + WORTH_A_RANK:
            best = NewClass(_between_scores(value, int(passed)), rank, float(curve[passed]))
    return best


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
