"""The loss around its optimum as a quadratic, by blocks of items: refitting becomes a matter of microseconds.

What a member is worth, how sure its weight is, and which members to drop for speed are all questions about thousands
of refits. For squared error the quadratic is the loss itself; for the others it is exact to second order, and what is
chosen with it is fitted again in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.search.cells.cells import Cells
from foldpack.search.weights.logit import bce_terms, nonnegative_qp, softmax_terms
from foldpack.search.weights.simplex import log_loss_terms, simplex_qp
from foldpack.search.weights.solvers import Blend, seen_cells

BLOCKS = 64


@dataclass(frozen=True)
class LocalModel:
    """Gradients and Hessians of the mean loss at `center`, split over blocks of items.

    gradients: (B, D), hessians: (B, D, D), each a block's part of the mean; center: (D,), D = M, or M + 1 with a
    bias; simplex: whether the weights must sum to 1 (else they only must not be negative).
    """

    gradients: np.ndarray
    hessians: np.ndarray
    center: np.ndarray
    simplex: bool
    members: int

    def system(self, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(Hessian, linear) of ½x'Hx - c'x, each block counted `counts` times (B,), once by default."""
        once = np.ones(len(self.gradients)) if counts is None else counts
        hessian = np.tensordot(once, self.hessians, 1)
        return hessian, hessian @ self.center - once @ self.gradients

    def value(self, x: np.ndarray, hessian: np.ndarray, linear: np.ndarray) -> float:
        """The loss at x less the loss at the centre."""
        return float(0.5 * x @ hessian @ x - linear @ x) - float(
            0.5 * self.center @ hessian @ self.center - linear @ self.center
        )

    def solve(self, chosen: np.ndarray, hessian: np.ndarray, linear: np.ndarray) -> np.ndarray:
        """(D,) the best weights with only the members in chosen (M,) bool; the others are 0."""
        index = np.flatnonzero(np.append(chosen, np.ones(len(self.center) - self.members, dtype=bool)))
        gram, c, start = hessian[np.ix_(index, index)], linear[index], self.center[index]
        x = np.zeros(len(self.center))
        if self.simplex:
            start = start / start.sum() if start.sum() > 1e-9 else np.full(len(index), 1 / len(index))
            x[index] = simplex_qp(gram, c, start).weights
        else:
            x[index] = nonnegative_qp(gram, c, start, index < self.members)
        return x

    def loss_of(self, chosen: np.ndarray, system: tuple[np.ndarray, np.ndarray] | None = None) -> float:
        """The least loss with some members only, less the loss at the centre. chosen: (M,) bool, at least one."""
        hessian, linear = system or self.system()
        return self.value(self.solve(chosen, hessian, linear), hessian, linear)


def local_model(cells: Cells, blend: Blend) -> LocalModel:
    """The quadratic at a certified blend. cells: in the blend's space; blocks never split a group."""
    solver = blend.solver
    cells = seen_cells(cells, solver)
    simplex = solver.space == "probability" or (solver.space == "linear" and solver.method == "certified")
    biased = not simplex and cells.kind != "exclusive"
    center = blend.weights if simplex else blend.weights * blend.scale
    center = np.append(center, blend.bias) if biased else center
    block = item_blocks(cells)
    order = np.argsort(block[cells.row], kind="stable")
    edges = np.searchsorted(block[cells.row][order], np.arange(int(block.max()) + 2))
    terms = [_block_terms(cells, order[a:b], center, simplex) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    rows = cells.items if cells.kind == "exclusive" else len(cells.row)
    gradients, hessians = (np.array(part) / rows for part in zip(*terms, strict=True))
    return LocalModel(gradients, hessians, center, simplex, cells.members)


def item_blocks(cells: Cells) -> np.ndarray:
    """(items,) block number: groups, or single items, dealt out in a fixed shuffled order."""
    owner = np.arange(cells.items) if cells.groups is None else np.unique(cells.groups, return_inverse=True)[1]
    shuffled = np.random.default_rng(0).permutation(int(owner.max()) + 1)
    return shuffled[owner] % min(BLOCKS, len(shuffled))


def _block_terms(cells: Cells, index: np.ndarray, center: np.ndarray, simplex: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sums of (gradient, Hessian) over some cells, whole items, in order."""
    part = cells.values[:, index].astype(np.float64)
    if cells.kind == "values":
        full = part if simplex else np.vstack([part, np.ones((1, len(index)))])
        error = center @ full - cells.targets[cells.row[index]]
        return 2 * full @ error, 2 * full @ full.T
    truth = cells.y[index]
    if not simplex and cells.kind == "labels":
        return bce_terms(part, truth, center)
    if not simplex:
        row = cells.row[index]
        new = np.append(True, row[1:] != row[:-1])
        return softmax_terms(part, truth, np.flatnonzero(new), np.cumsum(new) - 1, center)
    if cells.kind == "exclusive":
        return log_loss_terms(part[:, truth], center)
    return log_loss_terms(np.where(truth, part, 1 - part), center)
