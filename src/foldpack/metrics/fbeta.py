"""F-beta on multi-label decisions, in its three averages. Formulas as in scikit-learn's `fbeta_score`."""

from __future__ import annotations

import numpy as np

from foldpack.errors import FoldpackError

Counts = np.ndarray | np.integer | int


def fbeta_from_counts(hits: Counts, predicted: Counts, true: Counts, beta: float) -> np.ndarray:
    """F-beta from counts of any shape: (1+b²)·hits / (b²·true + predicted); 0 where nothing is true nor predicted."""
    below = beta * beta * np.asarray(true) + np.asarray(predicted)
    return np.where(below > 0, (1 + beta * beta) * np.asarray(hits) / np.maximum(below, 1e-12), 0.0)


def label_matrices(y: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as (n, C) bool, from bool or 0 and 1, (n,) being one class. Raises FoldpackError for other shapes."""
    y, decided = (one[:, None] if one.ndim == 1 else one for one in (np.asarray(y), np.asarray(decided)))
    if y.shape != decided.shape or y.ndim != 2:
        raise FoldpackError(f"the true labels have shape {y.shape}, the decided ones {decided.shape}; F-beta needs "
                            "(n, C) and (n, C)")
    return y.astype(bool), decided.astype(bool)


def fbeta_samples(y: np.ndarray, decided: np.ndarray, beta: float) -> float:
    """Mean over items of each item's F-beta (the iMet score with beta=2).

    y, decided: (n, C) bool. An item with no true and no decided label scores 0, as in scikit-learn.
    """
    y, decided = label_matrices(y, decided)
    hits = np.count_nonzero(y & decided, axis=1)
    return float(fbeta_from_counts(hits, decided.sum(axis=1), y.sum(axis=1), beta).mean())


def fbeta_micro(y: np.ndarray, decided: np.ndarray, beta: float) -> float:
    """F-beta of the counts pooled over all items and classes. y, decided: (n, C) bool."""
    y, decided = label_matrices(y, decided)
    return float(fbeta_from_counts(np.sum(y & decided), np.sum(decided), np.sum(y), beta))


def fbeta_macro(y: np.ndarray, decided: np.ndarray, beta: float) -> float:
    """Mean over classes of each class's F-beta. y, decided: (n, C) bool. A class never true nor decided scores 0."""
    y, decided = label_matrices(y, decided)
    hits = np.count_nonzero(y & decided, axis=0)
    return float(fbeta_from_counts(hits, decided.sum(axis=0), y.sum(axis=0), beta).mean())
