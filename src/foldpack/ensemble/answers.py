"""From probabilities to the cells of a submission."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.thresholds import decide


def answer_cells(
    probs: np.ndarray, classes: list[str], task: str, threshold: float | None, min_labels: int
) -> list[str]:
    """One cell an item. probs: (n, C) float32 in [0, 1].

    Multiclass: the likeliest class. Multilabel: the classes at or above the threshold, at least `min_labels` of
    them, in column order, space-joined. Raises ValueError for multilabel without a threshold.
    """
    if task == "multiclass":
        return [classes[k] for k in probs.argmax(axis=1)]
    if threshold is None:
        raise ValueError("a multilabel answer needs a threshold")
    chosen = decide(probs, threshold, min_labels)
    return [" ".join(classes[k] for k in np.flatnonzero(row)) for row in chosen]
