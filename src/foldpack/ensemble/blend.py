"""Blend probabilities of folds, then of members, by weighted mean."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.spaces import from_blend_space, to_blend_space
from foldpack.errors import FoldpackError
from foldpack.settings.stages import ScoreBlend


def blend_probs(
    probs: np.ndarray, weights: np.ndarray, rule: ScoreBlend | None = None, exclusive: bool = False
) -> np.ndarray:
    """(M, n, C) probabilities and (M,) weights >= 0 -> (n, C) float32: the mean, weights scaled to sum 1, in a space.

    rule: what is summed, probabilities by default; exclusive: one class an item is right (multiclass).
    """
    blend = RunningBlend(probs.shape[1], probs.shape[2], rule, exclusive)
    for member, weight in zip(probs, weights, strict=True):
        blend.add(member, float(weight))
    return blend.result()


class RunningBlend:
    """A weighted mean in a blend space that is valid after every part; parts are float32 (n, C) probabilities."""

    def __init__(
        self, n_items: int, n_classes: int, rule: ScoreBlend | None = None, exclusive: bool = False
    ) -> None:
        self._rule = rule or ScoreBlend()
        self._exclusive = exclusive
        self._sum = np.zeros((n_items, n_classes), dtype=np.float64)
        self._weight = 0.0
        self.parts = 0

    def add(self, probs: np.ndarray, weight: float) -> None:
        """Add one unit's probabilities with its share of the whole."""
        if weight != 0:
            self._sum += weight * to_blend_space(probs, self._rule.space, self._rule.power, self._exclusive)
        self._weight += weight
        self.parts += 1

    def result(self) -> np.ndarray:
        """(n, C) float32: the blend of what was added, weights renormalised. Raises FoldpackError without weight."""
        if not self._weight > 0:
            raise FoldpackError(f"the blend weights sum to {self._weight}; at least one must be above 0")
        mean = (self._sum / self._weight).astype(np.float32)
        rule = self._rule
        return from_blend_space(mean, rule.space, rule.power, rule.scale, rule.bias, self._exclusive)
