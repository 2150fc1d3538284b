"""What is wrong, or looks wrong, with a set of predictions: named before anything is fitted."""

from __future__ import annotations

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric

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


def require_alike(shapes: list[tuple[int, ...]], names: list[str]) -> None:
    """Raises DataError unless all members have the shape of the first."""
    for shape, name in zip(shapes, names, strict=True):
        if shape != shapes[0]:
            one = "; where one column is the probability of class 1, give that column of the others too"
            raise DataError(f"{name}: shape {shape}, but {names[0]} has {shapes[0]}; members must predict the same "
                            f"items and classes{one if len(shape) != len(shapes[0]) else ''}")
