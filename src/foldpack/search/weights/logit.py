"""Blending in logit space: weights >= 0 that need not sum to 1 (their sum is an inverse temperature), and a bias.

Both losses are convex in these numbers; SciPy's L-BFGS-B reaches the optimum in a dozen passes. The certificate is the
most that the linear bound allows within twice the size of the solution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from foldpack.search.cells.cells import Cells
from foldpack.search.weights.simplex import BLOCK, bounded_minimum, mean_terms

WARM_CELLS = 60_000  # a first solution is found on about so many cells


@dataclass(frozen=True)
class LogitSolution:
    """weights: (M,) >= 0; bias; the loss there; and an upper bound on loss - optimum."""

    weights: np.ndarray
    bias: float
    value: float
    gap: float


def fit_bce_logit(values: np.ndarray, y: np.ndarray, start: np.ndarray | None = None) -> LogitSolution:
    """Minimise the mean binary cross-entropy of sigmoid(sum_m w_m · values[m] + bias).

    values: (M, N) float32 logits; y: (N,) bool; start: (M + 1,) weights and bias to begin from.
    """
    size, total = values.shape
    if start is None and total > 4 * WARM_CELLS:
        stride = total // WARM_CELLS | 1  # odd, so that it does not run in step with the classes
        first = fit_bce_logit(values[:, ::stride], y[::stride])
        start = np.append(first.weights, first.bias)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        blocks = (slice(first, first + BLOCK) for first in range(0, total, BLOCK))
        return mean_terms((_bce_slope(with_ones(values[:, block]), y[block], x) for block in blocks), total)

    begin = np.append(np.full(size, 1 / size), 0.0) if start is None else start
    bounded = np.arange(size + 1) < size
    found = bounded_minimum(loss, begin, bounded)
    return LogitSolution(found.x[:size], float(found.x[size]), float(found.fun), box_gap(found.x, found.jac, bounded))


def fit_softmax_logit(cells: Cells, start: np.ndarray | None = None) -> LogitSolution:
    """Minimise the log-loss of softmax(sum_m w_m · values[m]) over each item's cells. No bias.

    cells: "exclusive", values (M, N) float32 logarithms of probabilities.
    """
    if start is None and cells.values.shape[1] > 4 * WARM_CELLS:
        stride = cells.values.shape[1] // WARM_CELLS
        start = fit_softmax_logit(cells.take_items(np.arange(cells.items) % stride == 0)).weights
    per_block = max(1, BLOCK * cells.items // cells.values.shape[1])
    edges = np.append(cells.starts, len(cells.row))

    def slopes(x: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        for first in range(0, cells.items, per_block):
            begin, end = edges[first], edges[min(first + per_block, cells.items)]
            part, truth = cells.values[:, begin:end].astype(np.float64), cells.y[begin:end]
            starts = cells.starts[first : first + per_block] - begin
            logits, prob, norm = _softmax(part, starts, cells.row[begin:end] - first, x)
            yield float(np.log(norm).sum() - logits[truth].sum()), part @ (prob - truth)

    begin = np.full(cells.members, 1 / cells.members) if start is None else start
    bounded = np.ones(cells.members, dtype=bool)
    found = bounded_minimum(lambda x: mean_terms(slopes(x), cells.items), begin, bounded)
    return LogitSolution(found.x, 0.0, float(found.fun), box_gap(found.x, found.jac, bounded))


def with_ones(part: np.ndarray) -> np.ndarray:
    """(M, b) -> (M + 1, b) float64: the last row is 1, that of the bias."""
    full = np.ones((len(part) + 1, part.shape[1]))
    full[:-1] = part
    return full


def _bce_slope(full: np.ndarray, truth: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
    logits = x @ full
    return float(np.logaddexp(0, np.where(truth, -logits, logits)).sum()), full @ (expit(logits) - truth)


def bce_terms(part: np.ndarray, truth: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the cross-entropy's gradient and Hessian over cells. part: (M, b) float64 logits; x: (M + 1,)."""
    full = with_ones(part)
    prob = expit(x @ full)
    return full @ (prob - truth), (full * (prob * (1 - prob))) @ full.T


def softmax_terms(
    part: np.ndarray, truth: np.ndarray, starts: np.ndarray, owner: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the log-loss's gradient and Hessian over items.

    part: (M, b) float64; starts: first cell of every item; owner: (b,) item of every cell; x: (M,).
    """
    prob = _softmax(part, starts, owner, x)[1]
    scaled = part * prob
    means = np.add.reduceat(scaled, starts, axis=1)
    return part @ (prob - truth), scaled @ part.T - means @ means.T


def _softmax(
    part: np.ndarray, starts: np.ndarray, owner: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(logits less the item's highest, probabilities, sum of an item's exponentials)."""
    logits = x @ part
    logits -= np.maximum.reduceat(logits, starts)[owner]
    prob = np.exp(logits)
    norm = np.add.reduceat(prob, starts)
    return logits, prob / norm[owner], norm


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
