"""Blend probabilities: views, then folds, then members, all by weighted mean."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax


def logits_to_probs(logits: np.ndarray, task: str) -> np.ndarray:
    """(..., C) logits -> float32 probabilities: softmax for multiclass, sigmoid a class for multilabel."""
    wide = np.asarray(logits, dtype=np.float32)
    return softmax(wide, axis=-1) if task == "multiclass" else expit(wide)


def merge_views(logits: np.ndarray, task: str) -> np.ndarray:
    """(V, n, C) logits -> (n, C) float32 probabilities: the mean over the views."""
    return logits_to_probs(logits, task).mean(axis=0)


def blend_probs(probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(M, n, C) probabilities and (M,) weights >= 0 -> (n, C) float32, the mean with the weights scaled to sum 1."""
    total = float(weights.sum())
    if not total > 0:
        raise ValueError(f"the blend weights sum to {total}; at least one must be above 0")
    out = np.zeros(probs.shape[1:], dtype=np.float32)
    for member, weight in zip(probs, weights, strict=True):
        out += np.float32(weight / total) * member
    return out


class RunningBlend:
    """A weighted mean that is valid after every part; parts are float32 (n, C)."""

    def __init__(self, n_items: int, n_classes: int) -> None:
        self._sum = np.zeros((n_items, n_classes), dtype=np.float64)
        self._weight = 0.0
        self.parts = 0

    def add(self, probs: np.ndarray, weight: float) -> None:
        """Add one unit's probabilities with its share of the whole."""
        self._sum += weight * probs
        self._weight += weight
        self.parts += 1

    def result(self) -> np.ndarray:
        """(n, C) float32: the mean of what was added, weights renormalised."""
        return (self._sum / self._weight).astype(np.float32)
