"""The whole search on arrays: choose, fit, say how sure, what it costs and in which order to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells
from foldpack.search.decide.decision import Fitted, LabelRule, fit_decision, score_cells
from foldpack.search.hours.cost import Machine, MemberCost, member_hours, unit_hours
from foldpack.search.hours.pareto import FrontPoint, best_within, pareto_front
from foldpack.search.hours.plan import PlannedUnit, plan_units, prefix_sets
from foldpack.search.weights.local_model import LocalModel, local_model
from foldpack.search.weights.selection import Choice, MemberChoice, choose, spread_blend
from foldpack.search.weights.solvers import Blend, Solver, default_solvers, finish_blend, fit_blend, in_space
from foldpack.search.weights.uncertainty import Uncertainty, bootstrap
from foldpack.settings.stages import LabelsDecision

SMALLEST_WEIGHT = 0.002  # a member with less is left out: it costs its full time
MOST_LEFT_OUT = 0.1  # of all weight; where the small members have more together, they stay
DIGITS = 6  # of weights, scale and bias: as written to the YAML
CURVE_POINTS = 33
CORRELATION_CELLS = 200_000
FRONT_CELLS = 1_000_000  # points of the front are scored on about so many cells of a member

Progress = Callable[[str, float], None]  # told the stage and the share of it that is done


@dataclass(frozen=True)
class SearchOptions:
    """spaces: None tries those that suit the metric; limit_hours: of all units; costs: one a member, or none.

    with_front: with costs, also score the whole front of loss against hours; a limit needs it.
    """

    rule: LabelRule = field(default_factory=LabelRule)
    spaces: list[str] | None = None
    limit_hours: float | None = None
    machine: Machine | None = None
    costs: list[MemberCost] | None = None
    with_front: bool = True


@dataclass(frozen=True)
class Prefix:
    """What to blend while only some members have a finished unit. members: indices into all members of the search."""

    members: list[int]
    blend: Blend  # weights for these members, in this order
    decision: Fitted
    score: float  # on the rows of the fit


@dataclass(frozen=True)
class FrontEntry:
    """A point of the front with its real score on the rows of the fit."""

    point: FrontPoint
    score: float


@dataclass(frozen=True)
class Found:
    """All that the search found. Member arrays are over all members given; those not used have weight 0."""

    metric: Metric
    members: int
    blend: Blend
    decision: Fitted
    rule: LabelRule
    score: float  # in-sample
    uniform_score: float  # in-sample, equal weights of all members' probabilities
    single_scores: np.ndarray  # (M,) in-sample, each at its own best threshold
    choice: Choice | None  # None with a single fold
    solvers: list[Solver]
    uncertainty: Uncertainty
    interval_solver: Solver  # whose refits the intervals are of: the blend's own, unless that has no loss to refit
    correlation: np.ndarray  # (M, M)
    curve: list[tuple[float, float]]  # (threshold, in-sample score), ascending; empty without one threshold
    front: list[FrontEntry]
    hours: np.ndarray | None  # (M,) all folds and views
    plan: list[PlannedUnit]
    prefixes: list[Prefix]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the choice."""
        return self.choice is not None and self.choice.interrupted

    @property
    def used(self) -> np.ndarray:
        """Indices of the members with weight."""
        return np.flatnonzero(self.blend.weights)

    @property
    def used_blend(self) -> Blend:
        """The blend of the members with weight alone."""
        return replace(self.blend, weights=self.blend.weights[self.used])


@dataclass(frozen=True)
class Problem:
    """What one search works with. cells: in probability space."""

    cells: Cells
    solvers: list[Solver]
    metric: Metric
    folds: np.ndarray
    options: SearchOptions
    progress: Progress

    @property
    def rule(self) -> LabelRule:
        return self.options.rule

    @property
    def hours(self) -> np.ndarray | None:
        """(M,) of all folds and views of each member; None without costs."""
        costs, machine = self.options.costs, self.options.machine
        if costs is None or machine is None:
            return None
        assert len(costs) == self.cells.members
        return np.array([member_hours(cost, machine) for cost in costs])

    @property
    def able(self) -> list[Solver]:
        """The solvers that minimise a loss."""
        return [solver for solver in self.solvers if solver.method in ("certified", "free")]

    def certified(self, like: Solver | None = None) -> Solver:
        """The solver whose loss stands for the metric: the one given if it has a loss, else the first that has."""
        if like in self.able:
            return like
        return self.able[0] if self.able else Solver("probability", "certified")

    def score(self, cells: Cells, blend: Blend) -> tuple[Fitted, float]:
        """The last step of a blend, fitted, and the score with it. cells: in the blend's space."""
        return fit_decision(cells, blend.of(cells), self.metric, self.rule)


def find_ensemble(
    cells: Cells,
    metric: Metric,
    folds: np.ndarray,
    options: SearchOptions | None = None,
    progress: Progress | None = None,
) -> Found:
    """Search the blend of some members' predictions.

    cells: probabilities (or values) of M members; folds: (items,) int. Same inputs give the same result for any
    number of threads: linear algebra runs in one.
    """
    options = options or SearchOptions()
    if metric.needs == "grades" and options.rule.grades is None:  # a fold may lack one
        options = replace(options, rule=replace(options.rule, grades=int(cells.targets.max()) + 1))
    with threadpool_limits(limits=1):
        return _find(Problem(cells, default_solvers(cells, metric, options.spaces), metric, folds, options,
                           progress or (lambda stage, share: None)))


def _find(problem: Problem) -> Found:
    cells, hours, options = problem.cells, problem.hours, problem.options
    kept, front = np.ones(cells.members, dtype=bool), []
    members: MemberChoice | None = None
    if hours is not None and options.with_front:
        problem.progress("front", 0.0)
        front = _scored_front(problem, hours)
        if options.limit_hours is not None and hours.sum() > options.limit_hours:
            members = partial(members_within, problem, hours, options.limit_hours)
            kept = members(np.ones(cells.items, dtype=bool))
    part = cells if kept.all() else cells.take_members(kept)
    choice, blend = _choose_blend(problem, members, int(kept.sum()))
    blend = rounded(blend)
    there = in_space(part, blend.solver)
    decision, score = problem.score(there, blend)
    model = _model(problem, part, blend)
    plan, prefixes = _plan(problem, part, blend, kept, model)
    problem.progress("bootstrap", 0.0)
    return Found(
        metric=problem.metric,
        members=cells.members,
        blend=spread_blend(blend, kept),
        decision=decision,
        rule=problem.rule,
        score=score,
        uniform_score=_plain_score(problem, cells.values.mean(axis=0)),
        single_scores=np.array([_plain_score(problem, member) for member in cells.values]),
        choice=choice,
        solvers=problem.solvers,
        uncertainty=_spread_uncertainty(bootstrap(model, share=0.0 if choice is None else choice.chosen.share), kept),
        interval_solver=problem.certified(blend.solver),
        correlation=member_correlation(cells),
        curve=_threshold_curve(problem, there, blend, decision),
        front=front,
        hours=hours,
        plan=[replace(unit, member=int(np.flatnonzero(kept)[unit.member])) for unit in plan],
        prefixes=prefixes,
    )


def members_within(problem: Problem, hours: np.ndarray, limit: float, rows: np.ndarray) -> np.ndarray:
    """(M,) bool: the best set of members that fits into the hours, by some rows alone; the cheapest if none does.

    rows: (items,) bool.
    """
    cells = problem.cells
    points = _front(problem, cells if rows.all() else cells.take_items(rows), hours)[0]
    within = best_within(points, limit) or points[0]
    return np.isin(np.arange(cells.members), within.members)


def _choose_blend(problem: Problem, members: MemberChoice | None, kept: int) -> tuple[Choice | None, Blend]:
    """The nested choice; with a single fold there is none, and equal weights stand. kept: members that are blended."""
    if len(np.unique(problem.folds)) < 2:
        return None, Blend(problem.solvers[0], np.full(kept, 1 / kept))
    choice, whole = choose(problem.cells, problem.solvers, problem.metric, problem.folds, problem.rule,
                           lambda share: problem.progress("nested score", share), members)
    return choice, whole[choice.chosen.solver].shrunk(choice.chosen.share)


def rounded(blend: Blend) -> Blend:
    """Weights as they are written, six digits, sum about 1; members with next to no weight are left out."""
    size = np.abs(blend.weights)
    small = size < SMALLEST_WEIGHT
    if size[small].sum() > MOST_LEFT_OUT * size.sum():  # of 501 equal members each is small, and together they are all
        small = np.zeros_like(small)
    weights = np.where(small, 0.0, blend.weights)
    weights = np.round(weights / weights.sum(), DIGITS)
    return replace(blend, weights=weights, scale=round(blend.scale, DIGITS), bias=round(blend.bias, DIGITS))


def _plain_score(problem: Problem, total: np.ndarray) -> float:
    """In-sample score of probabilities (or values) as they are; what a compact store has dropped is not selected."""
    cells = problem.cells
    plain = Solver("linear" if cells.kind == "values" else "probability", "certified")
    return fit_decision(cells, finish_blend(cells, total, plain), problem.metric, problem.rule)[1]


def _threshold_curve(problem: Problem, cells: Cells, blend: Blend, decision: Fitted) -> list[tuple[float, float]]:
    """The score at thresholds from a quarter to four times the best one."""
    if not isinstance(decision, LabelsDecision) or not isinstance(decision.threshold, float):
        return []
    blended = blend.of(cells)
    tried = decision.threshold * np.geomspace(0.25, 4, CURVE_POINTS)
    others = {threshold: decision.model_copy(update={"threshold": threshold}) for threshold in tried.tolist()}
    return [(threshold, score_cells(cells, blended, problem.metric, other, problem.rule))
            for threshold, other in others.items()]


def member_correlation(cells: Cells) -> np.ndarray:
    """(M, M) correlation of the members' numbers over about 200,000 cells."""
    step = max(1, cells.values.shape[1] // CORRELATION_CELLS) | 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(cells.values[:, ::step].astype(np.float64)))


def _model(problem: Problem, cells: Cells, blend: Blend) -> LocalModel:
    solver = problem.certified(blend.solver)
    there = in_space(cells, solver)
    return local_model(there, fit_blend(there, solver, problem.metric, problem.rule))


def _front(problem: Problem, cells: Cells, hours: np.ndarray) -> tuple[list[FrontPoint], Cells, Solver]:
    """The front by the local model of the last certified solver (logit space where there is one), its cells, it."""
    solver = problem.able[-1] if problem.able else problem.certified()
    stride = max(1, cells.values.shape[1] // FRONT_CELLS)
    part = cells if stride == 1 else cells.take_items(np.arange(cells.items) % stride == 0)
    there = in_space(part, solver)
    fitted = fit_blend(there, solver, problem.metric, problem.rule)
    return pareto_front(local_model(there, fitted), hours), there, solver


def _scored_front(problem: Problem, hours: np.ndarray) -> list[FrontEntry]:
    """The front, each set really fitted and scored."""
    front, there, solver = _front(problem, problem.cells, hours)
    entries = []
    for done, point in enumerate(front):
        some = there.take_members(np.array(point.members))
        blend = fit_blend(some, solver, problem.metric, problem.rule)
        entries.append(FrontEntry(point, problem.score(some, blend)[1]))
        problem.progress("front", (done + 1) / len(front))
    return entries


def _plan(
    problem: Problem, cells: Cells, blend: Blend, kept: np.ndarray, model: LocalModel
) -> tuple[list[PlannedUnit], list[Prefix]]:
    """Order of units and refitted weights for every set of members that a prefix can have. cells: of those kept."""
    options = problem.options
    if options.costs is None or options.machine is None:
        return [], []
    costs = [cost for cost, keep in zip(options.costs, kept, strict=True) if keep]
    units = plan_units(model, blend.weights, np.array([unit_hours(cost, options.machine) for cost in costs]),
                       np.array([cost.folds for cost in costs]))
    there, original = in_space(cells, blend.solver), np.flatnonzero(kept)
    prefixes = []
    for members in prefix_sets(units):
        some = there.take_members(np.array(members))
        if len(members) == np.count_nonzero(blend.weights):
            fitted = replace(blend, weights=blend.weights[members])
        elif blend.gap is None:  # uniform, shrunk or greedy: keep its proportions
            fitted = replace(blend, weights=blend.weights[members] / blend.weights[members].sum())
        else:
            fitted = fit_blend(some, blend.solver, problem.metric, problem.rule)
        fitted = replace(fitted, weights=np.round(fitted.weights, DIGITS), scale=round(fitted.scale, DIGITS),
                         bias=round(fitted.bias, DIGITS))
        prefixes.append(Prefix([int(original[m]) for m in members], fitted, *problem.score(some, fitted)))
    return units, prefixes


def _spread_uncertainty(found: Uncertainty, kept: np.ndarray) -> Uncertainty:
    def spread(part: np.ndarray) -> np.ndarray:
        whole = np.zeros(len(kept))
        whole[kept] = part
        return whole

    return Uncertainty(*(spread(getattr(found, name)) for name in Uncertainty.__dataclass_fields__))
