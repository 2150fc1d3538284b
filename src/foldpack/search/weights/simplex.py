"""Convex problems over blend weights, each with a certificate of how far from the optimum it can be at most.

The quadratic program is solved exactly by an active set (Lawson and Hanson's method with one equality): SciPy has no
solver for it but general ones, and what a member is worth takes thousands of programs. Weights are few, rows are many:
a row is touched only to build a gradient or a Gram matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from foldpack.metrics.classification import SMALLEST_PROB

BLOCK = 1 << 16  # columns turned to float64 at a time
Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]  # x -> (loss, gradient)


@dataclass(frozen=True)
class Solution:
    """Weights (M,) float64, the value of the objective there, and an upper bound on value - optimum."""

    weights: np.ndarray
    value: float
    gap: float


def simplex_gap(weights: np.ndarray, gradient: np.ndarray) -> float:
    """The most a convex function can still fall on the simplex: gradient · (weights - best corner)."""
    return float(max(0.0, gradient @ weights - gradient.min()))


def simplex_qp(gram: np.ndarray, linear: np.ndarray, start: np.ndarray | None = None) -> Solution:
    """Minimise ½ w'Gw - c'w over w >= 0, sum w = 1. gram: (M, M), positive semidefinite; linear: (M,)."""
    size = len(linear)
    ridge = 1e-12 * max(float(np.trace(gram)) / size, 1e-300)  # shares weight evenly between equal members
    curved = gram + ridge * np.eye(size)
    weights = np.full(size, 1 / size) if start is None else start.astype(np.float64)
    free = weights > 0
    for _ in range(20 * size + 20):
        target = _on_face(curved, linear, free)
        if target[free].min() >= 0:
            weights = target
            slope = curved @ weights - linear
            slack = slope - slope @ weights
            candidate = int(slack.argmin())
            if free[candidate] or slack[candidate] >= -1e-13 * (1 + np.abs(slope).max()):
                break
            free[candidate] = True
            continue
        falling = free & (target < 0)
        shares = np.where(falling, weights / np.where(falling, weights - target, 1.0), np.inf)
        weights = np.maximum(weights + min(1.0, shares.min()) * (target - weights), 0.0)
        free[shares.argmin()] = False
        weights[~free] = 0.0
    weights = np.maximum(weights, 0.0)
    weights /= weights.sum()
    slope = gram @ weights - linear
    return Solution(weights, float(0.5 * weights @ gram @ weights - linear @ weights), simplex_gap(weights, slope))


def _on_face(gram: np.ndarray, linear: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The minimum of the quadratic where only free weights move and the sum is 1, signs ignored."""
    index = np.flatnonzero(free)
    size = len(index)
    # The multiplier's row is scaled like the Gram matrix, or the system would be badly conditioned.
    scale = max(float(np.abs(np.diag(gram)).max()), 1e-300)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = gram[np.ix_(index, index)] / scale
    system[size, :size] = system[:size, size] = 1.0
    right = np.append(linear[index] / scale, 1.0)
    try:
        solved = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        solved = np.linalg.lstsq(system, right, rcond=None)[0]
    target = np.zeros(len(linear))
    target[index] = solved[:size]
    return target


def fit_log_loss(probs: np.ndarray, truth: np.ndarray | None = None, start: np.ndarray | None = None) -> Solution:
    """The weights with the least mean of -log(probability of the truth) of the blend sum_m w_m · probs[m].

    probs: (M, N) float in [0, 1]: what each member gave to the truth of each cell, or, with truth (N,) bool, to the
    cell being true. start: (M,) to begin from. The cost does not depend on the number of classes. Without the sum of 1,
    a charge of it takes its place: the loss of k w is that of w less log k, so that the optimum has the sum 1.
    """
    size, rows = probs.shape

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        return mean_terms((_log_loss_slope(part, weights) for part in _true_blocks(probs, truth)), rows)

    def charged(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss(weights)
        return value + float(weights.sum()), gradient + 1

    found = bounded_minimum(charged, np.full(size, 1 / size) if start is None else start, np.ones(size, dtype=bool))
    weights = found.x / found.x.sum()
    value, gradient = loss(weights)
    return Solution(weights, value, simplex_gap(weights, gradient))


def bounded_minimum(loss: Loss, start: np.ndarray, bounded: np.ndarray) -> OptimizeResult:
    """SciPy's L-BFGS-B on a smooth convex loss, to where rounding ends it, with x >= 0 where `bounded`."""
    bounds = [(0 if low else None, None) for low in bounded]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
                    options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000})


def mean_terms(terms: Iterable[tuple[float, np.ndarray]], rows: int) -> tuple[float, np.ndarray]:
    """Sums (loss, gradient) of blocks of rows -> their mean a row."""
    losses, gradients = zip(*terms, strict=True)
    return float(sum(losses)) / rows, np.sum(gradients, axis=0) / rows


def _log_loss_slope(part: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    blend = _clipped(weights @ part)
    return -float(np.log(blend).sum()), -(part @ (1 / blend))


def log_loss_terms(part: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the log-loss's gradient and Hessian. part: (M, b) float64 probabilities of the truth."""
    scaled = part / _clipped(weights @ part)
    return -scaled.sum(axis=1), scaled @ scaled.T


def _clipped(blend: np.ndarray) -> np.ndarray:
    return np.maximum(blend, SMALLEST_PROB)


def _true_blocks(probs: np.ndarray, truth: np.ndarray | None):
    """Probabilities of the truth in float64, a block at a time, so that a big float32 matrix is never copied whole."""
    for first in range(0, probs.shape[1], BLOCK):
        part = probs[:, first : first + BLOCK].astype(np.float64)
        yield part if truth is None else np.where(truth[first : first + BLOCK], part, 1 - part)


def fit_squared_error(values: np.ndarray, y: np.ndarray) -> Solution:
    """The simplex weights with the least mean squared error of sum_m w_m · values[m].

    values: (M, N) float; y: (N,) float. `value` is half the mean squared error less half the mean of y². After one
    pass for the Gram matrix the cost does not depend on N.
    """
    gram, linear = gram_matrix(values, y)
    return simplex_qp(gram, linear)


def gram_matrix(values: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, M) mean of products of members and (M,) mean of products with y, in float64."""
    size, rows = values.shape
    gram, linear = np.zeros((size, size)), np.zeros(size)
    for first in range(0, rows, BLOCK):
        part = values[:, first : first + BLOCK].astype(np.float64)
        gram += part @ part.T
        linear += part @ y[first : first + BLOCK]
    return gram / rows, linear / rows
