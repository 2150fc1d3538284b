"""Scores of predicted values. All: y and p of one shape, float, (n, 1) for (n,); lower is better.

Raises FoldpackError where the shapes differ.
"""

from __future__ import annotations

import numpy as np

from foldpack.metrics.shapes import equal_shapes


def rmse(y: np.ndarray, p: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(_errors(y, p) ** 2)))


def mae(y: np.ndarray, p: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(_errors(y, p))))


def pinball(y: np.ndarray, p: np.ndarray, quantile: float = 0.5) -> float:
    """Mean pinball loss of the predicted quantile in (0, 1); half the mean absolute error at 0.5."""
    error = _errors(y, p)
    return float(np.mean(np.maximum(quantile * error, (quantile - 1) * error)))


def _errors(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """y - p in float64."""
    y, p = equal_shapes(y, p)
    return y.astype(np.float64) - p
