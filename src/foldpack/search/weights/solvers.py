"""Ways to find blend weights: a space, and a solver with a certificate or a greedy search on the metric itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from foldpack.ensemble.spaces import from_blend_space, to_blend_space
from foldpack.errors import FoldpackError, did_you_mean
from foldpack.metrics.registry import Metric, known_metric
from foldpack.search.cells.cells import Cells
from foldpack.search.decide.decision import LabelRule, fit_decision
from foldpack.search.weights.logit import box_gap, fit_bce_logit, fit_softmax_logit, nonnegative_qp
from foldpack.search.weights.simplex import fit_log_loss, fit_squared_error, gram_matrix

PATIENCE = 6  # rounds of a greedy selection without a gain
CALM_LOGIT = 4.0  # float32 probabilities of smaller logits are fine enough for any order
LARGE_LOGIT = 8.0  # from here on they may tie what differs
GREEDY_CELLS = {"labels": 50_000, "probs": 2_000_000, "grades": 20_000, "values": 2_000_000}


@dataclass(frozen=True)
class Solver:
    """method: "certified" minimises a convex loss, "greedy" climbs on the metric, "free" drops the sum of 1."""

    space: str
    method: Literal["certified", "greedy", "free", "negative"]
    power: float = 1.0

    @property
    def name(self) -> str:
        space = f"power {self.power:g}" if self.space == "power" else self.space
        return f"{space}, {self.method}"


@dataclass(frozen=True)
class Blend:
    """A fitted blend: from_blend_space(weights · to_blend_space(members)).

    weights: (M,) sum 1 (signed for "negative"); scale and bias: of the space; gap: certified distance of the loss
    from its optimum, None for a greedy search.
    """

    solver: Solver
    weights: np.ndarray
    scale: float = 1.0
    bias: float = 0.0
    gap: float | None = None
    loss: float | None = None  # the convex loss, where one was minimised

    def of(self, cells: Cells) -> np.ndarray:
        """(N,) float32 blended predictions of cells that lie in the solver's space."""
        return finish_blend(cells, self.weights.astype(np.float32) @ cells.values, self.solver, self.scale, self.bias)

    def shrunk(self, share: float) -> Blend:
        """A blend that keeps `share` of the way from equal weights to these."""
        if share == 1:
            return self
        equal = np.full(len(self.weights), 1 / len(self.weights))
        return replace(self, weights=share * self.weights + (1 - share) * equal, gap=None, loss=None)


def default_solvers(cells: Cells, metric: Metric, spaces: list[str] | None = None) -> list[Solver]:
    """The solvers worth trying for a metric, most plausible first; with `spaces`, those of these spaces.

    spaces: "probability", "logit", "geometric", "rank", "power" or "linear"; "power" stands for powers 0.5 and 2.
    """
    exact = (metric.name == "log_loss") or metric.name == "rmse"
    if cells.kind == "values":
        solvers = [Solver("linear", "certified"), Solver("linear", "free")]
        others = [Solver("linear", "negative"), Solver("linear", "greedy")]
        if not exact:
            solvers.append(Solver("linear", "greedy"))
    else:
        solvers = [Solver("probability", "certified"), Solver("logit", "certified")]
        if not exact:
            solvers.append(Solver("probability", "greedy"))
        others = [Solver("geometric", "greedy"), Solver("rank", "greedy"), Solver("power", "greedy", 0.5),
                  Solver("power", "greedy", 2.0)]
    if not cells.full:  # softmax and ranks need every class
        solvers = [one for one in solvers if cells.kind == "labels" or one.space == "probability"]
    if spaces is None:
        return solvers
    known = sorted({solver.space for solver in solvers + others})
    for space in spaces:
        if space not in known:
            raise FoldpackError(f"blend space {space!r} does not fit {cells.kind}: {did_you_mean(space, known)}")
    return [solver for solver in solvers + others if solver.space in spaces]


def in_space(cells: Cells, solver: Solver) -> Cells:
    """The same cells with the members' numbers of the solver's space."""
    exclusive = cells.kind == "exclusive"
    if solver.space == "rank":
        tables = [cells.dense(member) for member in cells.values]
        ranks = [to_blend_space(table, "rank").reshape(cells.items, -1)[cells.row, cells.column] for table in tables]
        return cells.with_values(np.array(ranks, dtype=np.float32))
    if solver.space in ("probability", "linear"):
        return cells
    changed = np.empty_like(cells.values)
    for member, probs in enumerate(cells.values):
        changed[member] = to_blend_space(probs, solver.space, solver.power, exclusive)
    return cells.with_values(changed)


def finish_blend(cells: Cells, total: np.ndarray, solver: Solver, scale: float = 1.0, bias: float = 0.0) -> np.ndarray:
    """(N,) sums in the solver's space -> (N,) predictions.

    total: with weights of sum 1. In a compact store of labels, what dropped cells could reach as well becomes 0: below
    that only a part of the cells is known, all the true ones among them.
    """
    if not cells.full and cells.kind == "labels":
        hidden = total <= space_floor(cells, solver)
        blended = from_blend_space(total, solver.space, solver.power, scale, bias)
        return np.where(hidden, np.float32(0), blended)
    if solver.space in ("probability", "rank"):
        return total
    if cells.kind != "exclusive":
        return from_blend_space(total, solver.space, solver.power, scale, bias)
    if cells.full:
        table = total.reshape(cells.items, cells.classes)
        return from_blend_space(table, solver.space, solver.power, scale, bias, exclusive=True).reshape(-1)
    return _softmax_by_item(cells, total, solver, scale)


def space_floor(cells: Cells, solver: Solver) -> np.float32:
    """The floor of a compact store in the solver's space; ranks have none that could be known."""
    if solver.space == "rank":
        raise FoldpackError("blend space 'rank' needs every cell, and not all fit memory; leave it out")
    floor = np.array([cells.floor], dtype=np.float32)
    return to_blend_space(floor, solver.space, solver.power, cells.kind == "exclusive")[0]


def seen_cells(cells: Cells, solver: Solver) -> Cells:
    """The cells to fit on: of a compact store of labels those that the members' predictions alone have chosen.

    The store also keeps every true cell; a fit that saw these and not the false ones beside them would be misled.
    """
    if cells.full or cells.kind != "labels":
        return cells
    seen = cells.values.max(axis=0) > space_floor(cells, solver)
    return replace(cells, values=cells.values[:, seen], row=cells.row[seen], column=cells.column[seen])


def _softmax_by_item(cells: Cells, total: np.ndarray, solver: Solver, scale: float) -> np.ndarray:
    """The exclusive case on a compact store: an item's kept cells share its whole probability."""
    if solver.space == "power":
        lifted = np.power(np.maximum(total, 0), np.float32(1 / solver.power))
    else:
        lifted = np.float32(scale) * total
        lifted = np.exp(lifted - np.maximum.reduceat(lifted, cells.starts)[cells.row])
    return lifted / np.maximum(np.add.reduceat(lifted, cells.starts), 1e-30)[cells.row]


def fit_blend(cells: Cells, solver: Solver, metric: Metric, rule: LabelRule, start: Blend | None = None) -> Blend:
    """Fit a solver on cells that lie in its space already. start: a blend of the same solver to begin from."""
    if solver.method == "greedy":
        return Blend(solver, _greedy(cells, solver, metric, rule))
    if cells.kind == "values":
        return _fit_values(cells, solver)
    cells = seen_cells(cells, solver)
    if solver.space == "probability":
        begin = None if start is None else start.weights
        if cells.kind == "exclusive":
            solved = fit_log_loss(cells.values[:, cells.y], start=begin)
        else:
            solved = fit_log_loss(cells.values, cells.y, start=begin)
        return Blend(solver, solved.weights, gap=solved.gap, loss=solved.value)
    begin = None if start is None else np.append(start.weights * start.scale, start.bias)
    if cells.kind == "exclusive":
        found = fit_softmax_logit(cells, None if begin is None else begin[:-1])
    else:
        found = fit_bce_logit(cells.values, cells.y, begin)
    blend = _scaled(solver, found.weights, found.bias, found.gap, found.value)
    binary = cells.kind == "labels" or (cells.full and cells.classes == 2)
    return _calm(blend, cells) if binary and only_orders(metric) else blend


def only_orders(metric: Metric) -> bool:
    """Whether a metric sees no more of probabilities than their order, and which of two classes is likelier."""
    return known_metric(metric.name) is metric and metric.needs in ("probs", "labels") and not metric.by_size


def _calm(blend: Blend, cells: Cells) -> Blend:
    """The same order with a smaller scale and bias, where float32 sigmoids would tie large logits."""
    total = blend.weights.astype(np.float32) @ cells.values
    total = total if cells.kind == "labels" else np.diff(total.reshape(-1, 2))
    highest = blend.scale * float(total.max()) + blend.bias
    if highest <= LARGE_LOGIT:
        return blend
    return replace(blend, scale=blend.scale * CALM_LOGIT / highest, bias=blend.bias * CALM_LOGIT / highest)


def _scaled(solver: Solver, weights: np.ndarray, bias: float, gap: float | None, loss: float | None) -> Blend:
    """Weights of any sum -> weights of sum 1 and a scale; equal weights and scale 0 when all are 0."""
    total = float(weights.sum())
    if abs(total) < 1e-12:
        return Blend(solver, np.full(len(weights), 1 / len(weights)), 0.0, bias, gap, loss)
    return Blend(solver, weights / total, total, bias, gap, loss)


def _fit_values(cells: Cells, solver: Solver) -> Blend:
    """Squared error: weights of sum 1; or free weights and a bias; or free weights of any sign."""
    y = cells.targets
    if solver.method == "certified":
        solved = fit_squared_error(cells.values, y)
        return Blend(solver, solved.weights, gap=solved.gap, loss=2 * solved.value + float(np.mean(y**2)))
    with_one = np.vstack([cells.values, np.ones((1, cells.values.shape[1]), dtype=np.float32)])
    gram, linear = gram_matrix(with_one, y)
    square = float(np.mean(y**2))
    if solver.method == "negative":
        ridge = 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        x, gap = np.linalg.solve(gram + ridge, linear), None
    else:
        bounded = np.arange(len(gram)) < len(gram) - 1
        x = nonnegative_qp(gram, linear, np.append(np.full(cells.members, 1 / cells.members), 0.0), bounded)
        gap = box_gap(x, 2 * (gram @ x - linear), bounded)
    return _scaled(solver, x[:-1], float(x[-1]), gap, float(x @ gram @ x - 2 * linear @ x) + square)


def _greedy(cells: Cells, solver: Solver, metric: Metric, rule: LabelRule) -> np.ndarray:
    """Greedy weights on the metric, on evenly spaced items when there are very many cells."""
    stride = max(1, cells.values.shape[1] // GREEDY_CELLS[metric.needs])
    part = cells if stride == 1 else cells.take_items(np.arange(cells.items) % stride == 0)
    sign = 1 if metric.greater_is_better else -1
    one_threshold = replace(rule, per_class=False)

    def gain(total: np.ndarray) -> float:
        return sign * fit_decision(part, finish_blend(part, total, solver), metric, one_threshold)[1]

    return greedy_weights(part.values, gain)


def greedy_weights(members: np.ndarray, gain: Callable[[np.ndarray], float], rounds: int = 25) -> np.ndarray:
    """Weights (M,) of the best prefix of a greedy selection; multiples of 1/length of that prefix.

    members: (M, ...) float, one array a member; gain(blend) -> float, greater is better. More than 25 rounds bring
    nothing measurable (TabRepo), and after 6 without a gain the search ends. Ties go to a member already chosen, then
    to the earlier one. Source: Caruana et al., ICML 2004.
    """
    counts = np.zeros(len(members), dtype=np.int64)
    total = np.zeros(members.shape[1:], dtype=np.float64 if members.dtype == np.float64 else np.float32)
    best_gain, best_counts, best_length = -np.inf, counts, 0
    for length in range(1, rounds + 1):
        gains = np.array([gain((total + member) / length) for member in members])
        choice = int(np.lexsort((np.arange(len(members)), counts == 0, -gains))[0])
        counts = counts + (np.arange(len(members)) == choice)
        total += members[choice]
        if gains[choice] > best_gain + 1e-12:
            best_gain, best_counts, best_length = float(gains[choice]), counts, length
        elif length - best_length >= PATIENCE:
            break
    return best_counts / best_counts.sum()
