"""Convex problems over blend weights, each with a certificate of how far from the optimum it can be at most.

The quadratic program is solved exactly by an active set (Lawson and Hanson's method with one equality); the log-loss
by a sequence of such programs on its true Hessian (as mixsqp does, PMC7986967). Weights are few, rows are many: a
row is touched only to build the gradient and the Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foldpack.metrics.classification import SMALLEST_PROB

BLOCK = 1 << 16  # columns turned to float64 at a time


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


# A function of weights that also gives its gradient (M,) and Hessian (M, M).
Quadratic = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def newton_on_simplex(
    function: Quadratic,
    value: Callable[[np.ndarray], float],
    size: int,
    tolerance: float = 1e-9,
    most_steps: int = 100,
    start: np.ndarray | None = None,
) -> Solution:
    """Minimise a smooth convex function over the simplex by exact quadratic programs and a line search.

    function(w) -> (value, gradient, Hessian); value(w) -> the value alone, for the line search.
    """
    weights = np.full(size, 1 / size) if start is None else start
    height, gradient, hessian = function(weights)
    gap = simplex_gap(weights, gradient)
    for _ in range(most_steps):
        if gap <= tolerance:
            break
        step = simplex_qp(hessian, hessian @ weights - gradient, weights).weights - weights
        promised = float(gradient @ step)
        length, there = 1.0, function(weights + step)  # the whole step is nearly always right
        if there[0] > height + 1e-4 * promised:
            length = 0.5
            while value(weights + length * step) > height + 1e-4 * length * promised and length > 1e-6:
                length /= 2
            there = function(weights + length * step)
        if there[0] > height:  # rounding: no further progress can be seen
            break
        weights, (height, gradient, hessian) = weights + length * step, there
        gap = simplex_gap(weights, gradient)
    return Solution(weights, height, gap)


def fit_log_loss(
    probs: np.ndarray, truth: np.ndarray | None = None, start: np.ndarray | None = None, tolerance: float = 1e-9
) -> Solution:
    """The weights with the least mean of -log(probability of the truth) of the blend sum_m w_m · probs[m].

    probs: (M, N) float in [0, 1]: what each member gave to the truth of each cell, or, with truth (N,) bool, to the
    cell being true. start: (M,) to begin from. The cost does not depend on the number of classes.
    """
    size, rows = probs.shape

    def value(weights: np.ndarray) -> float:
        return -sum(float(np.log(_clipped(weights @ part)).sum()) for part in _true_blocks(probs, truth)) / rows

    def full(weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        height, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
        for part in _true_blocks(probs, truth):
            height_here, gradient_here, hessian_here = log_loss_terms(part, weights)
            height += height_here
            gradient += gradient_here
            hessian += hessian_here
        return height / rows, gradient / rows, hessian / rows

    return newton_on_simplex(full, value, size, tolerance, start=start)


def log_loss_terms(part: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Sums of the log-loss, its gradient and Hessian. part: (M, b) float64 probabilities of the truth."""
    blend = _clipped(weights @ part)
    scaled = part / blend
    return -float(np.log(blend).sum()), -scaled.sum(axis=1), scaled @ scaled.T


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
