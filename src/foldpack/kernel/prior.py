"""The answer for an item of which nothing is known, from the training prior, with the standard library alone."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any


def prior_cell(
    classes: Sequence[str], prior: Sequence[float], decision: dict[str, Any], joiner: str = " "
) -> str:
    """The cell that `answer_cells` gives for the prior, in the same single precision.

    prior: share of each class in the training labels, [0, 1]. decision: of the kind "class" or
    "labels", as plain data.
    """
    probs = array("f", prior)
    if decision["kind"] == "class":
        return classes[max(range(len(probs)), key=probs.__getitem__)]
    threshold, fewest, most = decision["threshold"], decision.get("min_labels", 1), decision.get("max_labels")
    each = isinstance(threshold, Sequence)
    cuts = array("f", threshold if each else [threshold] * len(probs))
    scores = array("f", (p - cut for p, cut in zip(probs, cuts, strict=True))) if each else probs
    ranked = sorted(range(len(probs)), key=lambda k: (-scores[k], k))
    chosen = {k for k, (p, cut) in enumerate(zip(probs, cuts, strict=True)) if p >= cut} | set(ranked[:fewest])
    if most is not None:
        chosen &= set(ranked[:most])
    return joiner.join(classes[k] for k in sorted(chosen))
