"""What is wrong, or looks wrong, with a set of predictions: named before anything is fitted."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells import Kind

DUPLICATE = 0.9999  # correlation above which two members count as one
SUM_TOLERANCE = 0.02  # of an item's probabilities around 1


def checked_probs(values: np.ndarray, kind: Kind, name: str) -> tuple[np.ndarray, list[str]]:
    """One member's numbers -> float32 probabilities (values stay values), and what was noticed.

    values: (n,) or (n, C). Numbers outside [0, 1] are taken as logits. Raises DataError for NaN and infinity.
    """
    numbers = np.asarray(values)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1))[0])
        raise DataError(f"{name}: NaN or infinity, first in row {row}; every item needs a finite prediction")
    numbers = numbers.astype(np.float32)
    if kind == "values":
        return numbers, []
    notes = []
    if numbers.min() < 0 or numbers.max() > 1:
        notes.append(f"{name}: numbers from {numbers.min():.3g} to {numbers.max():.3g} are taken as logits")
        numbers = softmax(numbers, axis=1) if kind == "exclusive" else expit(numbers)
    elif kind == "exclusive" and np.abs(numbers.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        sums = numbers.sum(axis=1)
        notes.append(f"{name}: the probabilities of an item sum to {sums.min():.3g}..{sums.max():.3g}, scaled to 1")
        numbers = numbers / np.maximum(sums, 1e-9)[:, None]
    return numbers, notes


def duplicate_notes(correlation: np.ndarray, names: list[str]) -> list[str]:
    """A line for every pair of members that are nearly the same. correlation: (M, M)."""
    pairs = np.argwhere(np.triu(correlation > DUPLICATE, 1))
    return [f"{names[a]} and {names[b]} are nearly the same (correlation {correlation[a, b]:.6f}): one may be a copy"
            for a, b in pairs]  # fmt: skip


def score_notes(scores: np.ndarray, names: list[str], metric: Metric) -> list[str]:
    """A line for every member whose score is perfect: its predictions have seen the labels."""
    perfect = 1.0 if metric.greater_is_better else 0.0
    return [f"{name}: {metric.name} is exactly {perfect:g}: its predictions have probably seen the labels"
            for name, score in zip(names, scores, strict=True) if abs(score - perfect) < 1e-9]  # fmt: skip


def require_alike(shapes: list[tuple[int, ...]], names: list[str]) -> None:
    """Raises DataError unless all members have the shape of the first."""
    for shape, name in zip(shapes, names, strict=True):
        if shape != shapes[0]:
            raise DataError(f"{name}: shape {shape}, but {names[0]} has {shapes[0]}; members must predict the same "
                            "items and classes")  # fmt: skip
