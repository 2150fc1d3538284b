"""The answer for an item of which nothing is known, from the training prior, with the standard library alone."""

from __future__ import annotations

from array import array
from collections.abc import Sequence


def prior_cell(
    classes: Sequence[str], prior: Sequence[float], task: str, threshold: float | Sequence[float] | None,
    min_labels: int, max_labels: int | None, joiner: str = " "
) -> str:
    """The cell that `answer_cells` gives for the prior, in the same single precision.

    prior: share of each class in the training labels, [0, 1]. Raises ValueError for multilabel without a threshold.
    """
    probs = array("f", prior)
    if task == "multiclass":
        return classes[max(range(len(probs)), key=probs.__getitem__)]
    if threshold is None:
        raise ValueError("a multilabel answer needs a threshold")
    each = isinstance(threshold, Sequence)
    cuts = array("f", threshold if isinstance(threshold, Sequence) else [threshold] * len(probs))
    scores = array("f", (p - cut for p, cut in zip(probs, cuts, strict=True))) if each else probs
    ranked = sorted(range(len(probs)), key=lambda k: (-scores[k], k))
    chosen = {k for k, (p, cut) in enumerate(zip(probs, cuts, strict=True)) if p >= cut} | set(ranked[:min_labels])
    if max_labels is not None:
        chosen &= set(ranked[:max_labels])
    return joiner.join(classes[k] for k in sorted(chosen))
