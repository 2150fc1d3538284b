"""Which solver, how far from uniform, and what score to expect: all by cross-validation that never sees its fold.

For the choice itself every candidate is fitted without each fold and scored on it. For the honest score the choice
is repeated inside each outer fold, that of the members for a time limit too: fits without the folds f and g are
scored on g to choose for f, and on f to choose for g, so K folds cost K (K - 1) / 2 fits more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells
from foldpack.search.decide.decision import LabelRule, fit_decision, score_cells
from foldpack.search.weights.solvers import Blend, Solver, fit_blend, in_space

SHARES = (1.0, 0.5)  # how much of the way from equal to fitted weights a candidate keeps
MOST_FOLDS = 5  # more folds are merged: the work grows with their square

Progress = Callable[[float], None]  # told the share of the work that is done
MemberChoice = Callable[[np.ndarray], np.ndarray]  # (items,) bool, rows to look at -> (M,) bool, members to keep


@dataclass(frozen=True)
class Candidate:
    """A solver (index into the list of solvers) and the share of its weights; share 0 is equal weights."""

    solver: int
    share: float


@dataclass(frozen=True)
class Choice:
    """What was chosen, and scores on folds that took no part in the fit, in the metric's own direction.

    per_fold, uniform_per_fold, best_single_per_fold: (K,), of the nested choice, of equal weights, and of the member
    that is best without the fold; by_candidate: mean over folds of every candidate (chosen among, so optimistic);
    interrupted: Ctrl-C ended the cross-validation, and what was known by then decided.
    """

    chosen: Candidate
    candidates: list[Candidate]
    by_candidate: np.ndarray
    per_fold: np.ndarray
    uniform_per_fold: np.ndarray
    best_single_per_fold: np.ndarray
    interrupted: bool = False

    @property
    def mean(self) -> float:
        """The nested score: what the whole search, choice included, reaches on new rows."""
        return float(self.per_fold.mean())

    @property
    def se(self) -> float:
        return standard_error(self.per_fold)

    @property
    def uniform(self) -> float:
        return float(self.uniform_per_fold.mean())


def standard_error(scores: np.ndarray) -> float:
    """Standard error of the mean over folds."""
    return float(scores.std(ddof=1) / np.sqrt(len(scores)))


def choose(
    cells: Cells,
    solvers: list[Solver],
    metric: Metric,
    folds: np.ndarray,
    rule: LabelRule | None = None,
    progress: Progress | None = None,
    members: MemberChoice | None = None,
) -> tuple[Choice, list[Blend]]:
    """Choose a solver and a share, uniform first; also the solvers fitted on all rows and the members chosen on them.

    cells: in probability space; folds: (items,) int, two or more different. A group must not be split over folds.
    members: which to keep, asked again for every set of rows that something is fitted on; None keeps all.
    An interrupt (Ctrl-C) ends the cross-validation; what is known by then decides, and scores not reached are NaN.
    """
    rule = rule or LabelRule()
    fold = merged_folds(folds)
    by_space = {(solver.space, solver.power): in_space(cells, solver) for solver in solvers}
    spaces = [by_space[solver.space, solver.power] for solver in solvers]
    candidates = [Candidate(0, 0.0)] + [Candidate(r, s) for r in range(len(solvers)) for s in SHARES]
    parts = spaces
    if members is not None:
        kept = members(np.ones(cells.items, dtype=bool))
        parts = [space.take_members(kept) for space in spaces]
    whole = [fit_blend(part, solver, metric, rule) for part, solver in zip(parts, solvers, strict=True)]
    scorer = _Scorer(list(by_space.values()), [list(by_space).index((r.space, r.power)) for r in solvers], solvers,
                     metric, rule, candidates, whole, members)
    count = int(fold.max()) + 1
    tasks: list[tuple[int, ...]] = [(f,) for f in range(count)] + list(combinations(range(count), 2))
    tasks = tasks if count > 2 else tasks[:2]
    gains = np.full((count, count, len(candidates) + cells.members), np.nan)
    try:
        for done, left_out in enumerate(tasks):
            rows = scorer.gains(fold, left_out)
            for scored, row in zip(left_out, rows, strict=True):
                gains[scored, left_out[0] if left_out[-1] == scored else left_out[-1], : len(row)] = row
            if progress:
                progress((done + 1) / len(tasks))
    except KeyboardInterrupt:
        return replace(_decide(gains, candidates, metric), interrupted=True), whole
    return _decide(gains, candidates, metric), whole


def _decide(gains: np.ndarray, candidates: list[Candidate], metric: Metric) -> Choice:
    """gains[scored fold, other fold left out (itself for none), candidates then single members]; NaN if not done."""
    count, sign = len(gains), 1 if metric.greater_is_better else -1
    size = len(candidates)
    outer = gains[np.arange(count), np.arange(count)]
    if np.isnan(gains[:, :, 0]).any() and count > 2:
        nothing = np.full(count, np.nan)
        finished = outer[~np.isnan(outer[:, 0]), :size]
        means = finished.mean(axis=0) if len(finished) else np.full(size, np.nan)
        chosen = candidates[uniform_first(finished)]
        return Choice(chosen, candidates, sign * means, nothing, sign * outer[:, 0], nothing)
    nested, single = np.empty(count), np.empty(count)
    for f in range(count):
        others = [g for g in range(count) if g != f]
        inner = gains[others, f] if count > 2 else outer[others]  # two folds leave nothing to choose on but themselves
        nested[f] = outer[f, uniform_first(inner[:, :size])]
        single[f] = outer[f, size + int(outer[others, size:].mean(axis=0).argmax())]
    return Choice(
        candidates[uniform_first(outer[:, :size])],
        candidates,
        sign * outer[:, :size].mean(axis=0),
        sign * nested,
        sign * outer[:, 0],
        sign * single,
    )


def uniform_first(gains: np.ndarray) -> int:
    """The candidate to take. gains: (folds, candidates), greater is better, candidate 0 is uniform.

    A candidate counts only when its paired gain over uniform, fold by fold, is above one standard error.
    """
    if len(gains) < 2:
        return 0
    ahead = gains - gains[:, :1]
    error = ahead.std(axis=0, ddof=1) / np.sqrt(len(gains))
    passing = ahead.mean(axis=0) > np.maximum(error, 1e-12)
    return int(np.where(passing, ahead.mean(axis=0), 0.0).argmax())


def spread_blend(blend: Blend, kept: np.ndarray) -> Blend:
    """A blend of the kept members as one of all members. kept: (M,) bool."""
    weights = np.zeros(len(kept))
    weights[kept] = blend.weights
    return replace(blend, weights=weights)


def merged_folds(folds: np.ndarray) -> np.ndarray:
    """(n,) any fold ids -> 0..K-1, at most five; of more the smallest are joined. Raises DataError for one fold."""
    ids, place, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    if len(ids) < 2:
        raise DataError(f"a nested score needs at least two folds, got {len(ids)}; give folds with two or more ids")
    home, load = np.zeros(len(ids), dtype=np.int64), np.zeros(min(len(ids), MOST_FOLDS))
    for one in np.argsort(-sizes, kind="stable"):
        home[one] = load.argmin()
        load[home[one]] += sizes[one]
    return home[place]


class _Scorer:
    """Fits every solver without some folds and scores every candidate, and every single member, on each of them."""

    def __init__(
        self,
        spaces: list[Cells],
        space_of: list[int],
        solvers: list[Solver],
        metric: Metric,
        rule: LabelRule,
        candidates: list[Candidate],
        whole: list[Blend],
        members: MemberChoice | None,
    ) -> None:
        self.spaces, self.space_of, self.solvers = spaces, space_of, solvers
        self.metric, self.rule, self.candidates, self.whole = metric, rule, candidates, whole
        self.members = members

    def gains(self, fold: np.ndarray, left_out: tuple[int, ...]) -> list[np.ndarray]:
        """For each fold left out: (candidates + members,) scores, greater is better; members only with one left out."""
        kept = ~np.isin(fold, left_out)
        train = [space.take_items(kept) for space in self.spaces]
        held = [[space.take_items(fold == one) for one in left_out] for space in self.spaces]
        chosen = np.ones(train[0].members, dtype=bool) if self.members is None else self.members(kept)
        fitted = [self._fitted(train[s], place, chosen) for place, s in enumerate(self.space_of)]
        blends = [(self.space_of[c.solver], spread_blend(fitted[c.solver].shrunk(c.share), chosen))
                  for c in self.candidates]
        if len(left_out) == 1:
            members = np.eye(train[0].members)
            blends += [(self.space_of[0], Blend(self.solvers[0], one)) for one in members]
        columns = [self._score(train[s], held[s], blend) for s, blend in blends]
        return list(np.array(columns).T)

    def _fitted(self, train: Cells, place: int, chosen: np.ndarray) -> Blend:
        """One solver on the chosen members; where all are, begun at its fit on all rows."""
        if self.members is None:
            return fit_blend(train, self.solvers[place], self.metric, self.rule, self.whole[place])
        return fit_blend(train.take_members(chosen), self.solvers[place], self.metric, self.rule)

    def _score(self, train: Cells, held: list[Cells], blend: Blend) -> list[float]:
        """Scores on the held-out parts, the last step fitted on the training part."""
        sign = 1 if self.metric.greater_is_better else -1
        decision = None
        if self.rule.decides(self.metric):
            decision = fit_decision(train, blend.of(train), self.metric, self.rule)[0]
        return [sign * score_cells(part, blend.of(part), self.metric, decision, self.rule) for part in held]
