"""Scores of predicted values. All: y and p of one shape, float; lower is better."""

from __future__ import annotations

import numpy as np


def rmse(y: np.ndarray, p: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((p.astype(np.float64) - y) ** 2)))


def mae(y: np.ndarray, p: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(p.astype(np.float64) - y)))


def pinball(y: np.ndarray, p: np.ndarray, quantile: float = 0.5) -> float:
    """Mean pinball loss of the predicted quantile in (0, 1); half the mean absolute error at 0.5."""
    error = y - p.astype(np.float64)
    return float(np.mean(np.maximum(quantile * error, (quantile - 1) * error)))
