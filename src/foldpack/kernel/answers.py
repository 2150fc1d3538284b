"""From probabilities to the cells of a submission."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.thresholds import decide


def answer_cells(
    probs: np.ndarray, classes: list[str], task: str, threshold: float | list[float] | None, min_labels: int,
    max_labels: int | None = None, joiner: str = " "
) -> list[str]:
    """One cell an item. probs: (n, C) float32 in [0, 1].

    Multiclass: the likeliest class. Multilabel: the classes at or above the threshold (one, or one a class), at
    least `min_labels` and at most `max_labels` of them, in column order, joined by `joiner`. Raises ValueError for
    multilabel without a threshold.
    """
    if task == "multiclass":
        return [classes[k] for k in probs.argmax(axis=1)]
    if threshold is None:
        raise ValueError("a multilabel answer needs a threshold")
    chosen = decide(probs, np.asarray(threshold), min_labels, max_labels)
    return [joiner.join(classes[k] for k in np.flatnonzero(row)) for row in chosen]
