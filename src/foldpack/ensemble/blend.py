"""The one blend of scores: the weighted mean of members in a blend space, in search, kernel and `foldpack blend`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from foldpack.ensemble.spaces import from_blend_space, to_blend_space
from foldpack.errors import FoldpackError
from foldpack.settings.outputs import ScoreBlend

SMALLEST_TOTAL = 1e-9  # weights of a smaller sum cannot be scaled to sum 1


def blend_probs(
    members: Iterable[np.ndarray], weights: Sequence[float] | np.ndarray, rule: ScoreBlend | None = None,
    exclusive: bool = False
) -> np.ndarray:
    """(n, C) or (n,) float32: the blend of members' probabilities or values, weights scaled to sum 1.

    rule: what is summed, probabilities by default; exclusive: one class an item is right. Raises as `blend_sums`.
    """
    rule = rule or ScoreBlend()
    there = (to_blend_space(one, rule.space, rule.power, exclusive) for one in members)
    return blend_sums(there, [float(weight) for weight in weights], rule, exclusive)


def blend_sums(
    sums: Iterable[np.ndarray], weights: Sequence[float], rule: ScoreBlend, exclusive: bool = False,
    parts: Sequence[int] | None = None
) -> np.ndarray:
    """The same of members that are summed up in the blend space already, each over so many `parts` (folds) of it.

    Weights may be negative where they were fitted so. Raises FoldpackError where they sum to 0, and ValueError where
    there are more or fewer of them than members.
    """
    total = sum(weights)
    if not abs(total) > SMALLEST_TOTAL:
        raise FoldpackError(f"the blend weights sum to {total}; at least one must be above 0")
    mean: np.ndarray | None = None
    for one, weight, count in zip(sums, weights, parts or [1] * len(weights), strict=True):
        if mean is None:
            mean = np.zeros(one.shape, dtype=np.float64)
        if one.shape != mean.shape:
            raise FoldpackError(f"a member of shape {one.shape} beside one of {mean.shape}; a blend needs one shape")
        if weight:
            mean += weight / total / count * one
    assert mean is not None  # weights that sum to something are not none
    return from_blend_space(mean.astype(np.float32), rule.space, rule.power, rule.scale, rule.bias, exclusive)
