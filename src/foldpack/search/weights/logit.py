"""Blending in logit space: weights >= 0 that need not sum to 1 (their sum is an inverse temperature), and a bias.

Both losses are convex in these numbers; Newton steps with an exact non-negative quadratic program reach the optimum
in a few passes. The certificate is the most that the linear bound allows within twice the size of the solution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from foldpack.search.cells.cells import Cells
from foldpack.search.weights.simplex import BLOCK

WARM_CELLS = 60_000  # a first solution is found on about so many cells


@dataclass(frozen=True)
class LogitSolution:
    """weights: (M,) >= 0; bias; the loss there; and an upper bound on loss - optimum."""

    weights: np.ndarray
    bias: float
    value: float
    gap: float


# x (M + 1,) -> (loss, gradient, Hessian); the last number is the bias.
Loss = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def fit_bce_logit(values: np.ndarray, y: np.ndarray, start: np.ndarray | None = None) -> LogitSolution:
    """Minimise the mean binary cross-entropy of sigmoid(sum_m w_m · values[m] + bias).

    values: (M, N) float32 logits; y: (N,) bool; start: (M + 1,) weights and bias to begin from.
    """
    if start is None and values.shape[1] > 4 * WARM_CELLS:
        stride = values.shape[1] // WARM_CELLS | 1  # odd, so that it does not run in step with the classes
        first = fit_bce_logit(values[:, ::stride], y[::stride])
        start = np.append(first.weights, first.bias)
    size, total = values.shape

    def loss(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        height, gradient, hessian = 0.0, np.zeros(size + 1), np.zeros((size + 1, size + 1))
        for first in range(0, total, BLOCK):
            part = values[:, first : first + BLOCK].astype(np.float64)
            height_here, gradient_here, hessian_here = bce_terms(part, y[first : first + BLOCK], x)
            height += height_here
            gradient += gradient_here
            hessian += hessian_here
        return height / total, gradient / total, hessian / total

    begin = np.append(np.full(size, 1 / size), 0.0) if start is None else start
    x, height, gap = newton_nonnegative(loss, begin, bounded=np.arange(size + 1) < size)
    return LogitSolution(x[:size], float(x[size]), height, gap)


def fit_softmax_logit(cells: Cells, start: np.ndarray | None = None) -> LogitSolution:
    """Minimise the log-loss of softmax(sum_m w_m · values[m]) over each item's cells. No bias.

    cells: "exclusive", values (M, N) float32 logarithms of probabilities.
    """
    if start is None and cells.values.shape[1] > 4 * WARM_CELLS:
        stride = cells.values.shape[1] // WARM_CELLS
        start = fit_softmax_logit(cells.take_items(np.arange(cells.items) % stride == 0)).weights
    size, per_block = cells.members, max(1, BLOCK * cells.items // cells.values.shape[1])

    edges = np.append(cells.starts, len(cells.row))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        height, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
        for first in range(0, cells.items, per_block):
            begin, end = edges[first], edges[min(first + per_block, cells.items)]
            part = cells.values[:, begin:end].astype(np.float64)
            starts = cells.starts[first : first + per_block] - begin
            owner = cells.row[begin:end] - first
            height_here, gradient_here, hessian_here = softmax_terms(part, cells.y[begin:end], starts, owner, x)
            height += height_here
            gradient += gradient_here
            hessian += hessian_here
        return height / cells.items, gradient / cells.items, hessian / cells.items

    begin = np.full(size, 1 / size) if start is None else start
    x, height, gap = newton_nonnegative(loss, begin, bounded=np.ones(size, dtype=bool))
    return LogitSolution(x, 0.0, height, gap)


def bce_terms(part: np.ndarray, truth: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Sums of the cross-entropy, its gradient and Hessian over cells. part: (M, b) float64 logits; x: (M + 1,)."""
    size = len(part)
    logits = x[:size] @ part + x[size]
    prob = expit(logits)
    error, curve = prob - truth, prob * (1 - prob)
    scaled = part * curve
    hessian = np.empty((size + 1, size + 1))
    hessian[:size, :size] = scaled @ part.T
    hessian[:size, size] = hessian[size, :size] = scaled.sum(axis=1)
    hessian[size, size] = curve.sum()
    height = float(np.logaddexp(0, np.where(truth, -logits, logits)).sum())
    return height, np.append(part @ error, error.sum()), hessian


def softmax_terms(
    part: np.ndarray, truth: np.ndarray, starts: np.ndarray, owner: np.ndarray, x: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Sums of the log-loss, its gradient and Hessian over items.

    part: (M, b) float64; starts: first cell of every item; owner: (b,) item of every cell; x: (M,).
    """
    logits = x @ part
    logits -= np.maximum.reduceat(logits, starts)[owner]
    prob = np.exp(logits)
    norm = np.add.reduceat(prob, starts)
    prob /= norm[owner]
    scaled = part * prob
    means = np.add.reduceat(scaled, starts, axis=1)
    gradient = means.sum(axis=1) - part[:, truth].sum(axis=1)
    return float(np.log(norm).sum() - logits[truth].sum()), gradient, scaled @ part.T - means @ means.T


def newton_nonnegative(
    loss: Loss, start: np.ndarray, bounded: np.ndarray, tolerance: float = 1e-8, most_steps: int = 60
) -> tuple[np.ndarray, float, float]:
    """(x, loss, gap) of a smooth convex loss with x >= 0 where `bounded`, by Newton steps with backtracking."""
    x = start.astype(np.float64)
    height, gradient, hessian = loss(x)
    gap = box_gap(x, gradient, bounded)
    for _ in range(most_steps):
        if gap <= tolerance:
            break
        step = nonnegative_qp(hessian, hessian @ x - gradient, x, bounded) - x
        length, promised = 1.0, float(gradient @ step)
        moved = loss(x + step)
        while moved[0] > height + 1e-4 * length * promised and length > 1e-6:
            length /= 2
            moved = loss(x + length * step)
        if moved[0] > height:  # rounding: no further progress can be seen
            break
        x, (height, gradient, hessian) = x + length * step, moved
        x[bounded] = np.maximum(x[bounded], 0.0)
        gap = box_gap(x, gradient, bounded)
    return x, height, gap


def box_gap(x: np.ndarray, gradient: np.ndarray, bounded: np.ndarray) -> float:
    """The most a convex function can still fall in the box of twice the solution's size (bounded parts from 0)."""
    reach = 2 * max(1.0, float(np.abs(x).max()))
    lowest = np.where(bounded, 0.0, -reach)
    return float(np.sum(np.maximum(gradient * (x - lowest), gradient * (x - reach))))


def nonnegative_qp(gram: np.ndarray, linear: np.ndarray, start: np.ndarray, bounded: np.ndarray) -> np.ndarray:
    """Minimise ½ x'Gx - c'x with x >= 0 where `bounded`, by an active set from a feasible start."""
    size = len(linear)
    curved = gram + 1e-12 * max(float(np.trace(gram)) / size, 1e-300) * np.eye(size)
    x, free = start.astype(np.float64), (start > 0) | ~bounded
    for _ in range(20 * size + 20):
        index = np.flatnonzero(free)
        target = np.zeros(size)
        target[index] = np.linalg.solve(curved[np.ix_(index, index)], linear[index])
        falling = free & bounded & (target < 0)
        if falling.any():
            shares = np.where(falling, x / np.where(falling, x - target, 1.0), np.inf)
            x = x + min(1.0, shares.min()) * (target - x)
            free[shares.argmin()] = False
            x[~free] = 0.0
            continue
        x = target
        slope = curved @ x - linear
        candidate = int(np.where(free, np.inf, slope).argmin())
        if free[candidate] or slope[candidate] >= -1e-13 * (1 + np.abs(linear).max()):
            break
        free[candidate] = True
    return x
