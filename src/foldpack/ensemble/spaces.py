"""Blend spaces: members are summed up as probabilities, logits, logarithms, ranks or powers.

A blend is `from_blend_space(sum of weight x to_blend_space(member))`, so a member can be added the moment it is done.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from foldpack.errors import FoldpackError

# space -> what is summed
BLEND_SPACES = {
    "probability": "p",
    "logit": "log(p / (1 - p)); where exactly one class is right, log p",
    "geometric": "log p: the weighted geometric mean",
    "rank": "the place among all items, by class, in (0, 1]",
    "power": "p ** power: the weighted power mean",
    "linear": "a real value as it is; scale and bias act on the sum",
}
LOG_FLOOR = 1e-9  # probabilities are raised to this before a logarithm
LOGIT_FLOOR = 1e-6  # and kept this far from 0 and 1 before a logit: float32 cannot tell them closer to 1


def to_blend_space(probs: np.ndarray, space: str, power: float = 1.0, exclusive: bool = False) -> np.ndarray:
    """One member's probabilities -> the numbers that are summed, same shape, float32.

    probs: (..., n, C) or (n,) float in [0, 1]; exclusive: exactly one class is right for each item. "rank" ranks
    along the axis of items, the first of a (n,) or (n, C) array, and needs all items at once.
    """
    if space in ("probability", "linear"):
        return probs.astype(np.float32, copy=False)
    if space == "power":
        return np.power(probs, power, dtype=np.float32)
    if space == "geometric" or (space == "logit" and exclusive):
        return np.log(np.maximum(probs, LOG_FLOOR), dtype=np.float32)
    if space == "logit":
        inside = np.clip(probs, LOGIT_FLOOR, 1 - LOGIT_FLOOR).astype(np.float32)
        return np.log(inside / (1 - inside))
    if space == "rank":
        return item_ranks(probs)
    raise FoldpackError(f"blend space {space!r} is not known; use one of {', '.join(BLEND_SPACES)}")


def from_blend_space(
    total: np.ndarray, space: str, power: float = 1.0, scale: float = 1.0, bias: float = 0.0, exclusive: bool = False
) -> np.ndarray:
    """The weighted sum in the space -> probabilities in [0, 1], same shape, float32.

    total: (..., n, C) or (n,). scale and bias act on logits: sigmoid(scale x total + bias); for exclusive classes
    softmax(scale x total) over the last axis. Ranks stay ranks.
    """
    if space in ("logit", "geometric") and exclusive:
        lifted = np.float32(scale) * total
        lifted = np.exp(lifted - lifted.max(axis=-1, keepdims=True))
        return lifted / lifted.sum(axis=-1, keepdims=True)
    if space == "logit":
        return expit(np.float32(scale) * total + np.float32(bias))
    if space == "geometric":
        return np.exp(total)
    if space == "linear":
        return np.float32(scale) * total + np.float32(bias)
    if space == "power":
        mean = np.power(np.maximum(total, 0), np.float32(1 / power))
        return mean / np.maximum(mean.sum(axis=-1, keepdims=True), LOG_FLOOR) if exclusive else mean
    return total


def item_ranks(scores: np.ndarray) -> np.ndarray:
    """(n,) or (n, C) float -> ranks by column in (0, 1], float32, equal scores sharing their mean rank."""
    table = scores[:, None] if scores.ndim == 1 else scores
    ranks = np.empty(table.shape, dtype=np.float32)
    for column in range(table.shape[1]):
        ranks[:, column] = rankdata(table[:, column]) / len(table)  # one at a time: its float64 copies are large
    return ranks.reshape(scores.shape)
