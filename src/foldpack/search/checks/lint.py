"""What is wrong, or looks wrong, with a set of predictions: named before anything is fitted."""

from __future__ import annotations

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric, base_name

DUPLICATE = 0.9999  # correlation above which two members count as one


def duplicate_notes(correlation: np.ndarray, names: list[str]) -> list[str]:
    """A line for every pair of members that are nearly the same. correlation: (M, M)."""
    pairs = np.argwhere(np.triu(correlation > DUPLICATE, 1))
    return [f"{names[a]} and {names[b]} are nearly the same (correlation {correlation[a, b]:.6f}): one may be a copy"
            for a, b in pairs]


def score_notes(scores: np.ndarray, names: list[str], metric: Metric) -> list[str]:
    """A line for every member whose score is perfect: its predictions have seen the labels."""
    perfect = 1.0 if metric.greater_is_better else 0.0
    return [f"{name}: {metric.name} is exactly {perfect:g}: its predictions have probably seen the labels"
            for name, score in zip(names, scores, strict=True) if abs(score - perfect) < 1e-9]


def absent_notes(targets: np.ndarray, classes: list[str], metric: Metric) -> list[str]:
    """A line where classes are left out of a mean over classes, as nothing of theirs is there to be found, or nothing
    else. targets: (n,) int or (n, C) bool."""
    if base_name(metric) not in ("auc", "average_precision"):
        return []
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=len(classes))
    useless = (counts == 0) | ((counts == len(targets)) if base_name(metric) == "auc" else False)
    lost = [name for name, out in zip(classes, useless, strict=True) if out]
    return [f"{metric.name}: {len(lost)} of {len(classes)} classes, such as '{lost[0]}', are true of none or of all "
            "rows, and are left out of its mean"] if lost else []


def require_alike(shapes: list[tuple[int, ...]], names: list[str]) -> None:
    """Raises DataError unless all members have the shape of the first."""
    for shape, name in zip(shapes, names, strict=True):
        if shape != shapes[0]:
            one = "; where one column is the probability of class 1, give that column of the others too"
            raise DataError(f"{name}: shape {shape}, but {names[0]} has {shapes[0]}; members must predict the same "
                            f"items and classes{one if len(shape) != len(shapes[0]) else ''}")
