"""From probabilities to the cells of a submission."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.thresholds import decide
from foldpack.settings.stages import Decision, LabelsDecision


def answer_cells(
    probs: np.ndarray, classes: list[str], decision: Decision, joiner: str = " "
) -> list[str]:
    """One cell an item. probs: (n, C) float32 in [0, 1].

    The likeliest class; or the classes at or above the threshold (one, or one a class), at least `min_labels` and at
    most `max_labels` of them, in column order, joined by `joiner`.
    """
    if not isinstance(decision, LabelsDecision):
        return [classes[k] for k in probs.argmax(axis=1)]
    chosen = decide(probs, np.asarray(decision.threshold), decision.min_labels, decision.max_labels)
    return [joiner.join(classes[k] for k in np.flatnonzero(row)) for row in chosen]
