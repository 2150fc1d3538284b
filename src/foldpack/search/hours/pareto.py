"""Which members to keep for which time: the whole front of loss against hours.

Up to 13 members the front is exact under the local model: every subset's unconstrained optimum is computed in
batches, those that are valid weights are kept, and the best of all subsets of a set is found by a sweep over its
members. Beyond, sets grow by gain per hour and are improved by swaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foldpack.search.weights.local_model import LocalModel

EXACT_MEMBERS = 13


@dataclass(frozen=True)
class FrontPoint:
    """A set of members that nothing cheaper beats. members: sorted indices; loss: above the centre's, by the model."""

    members: tuple[int, ...]
    hours: float
    loss: float


def pareto_front(model: LocalModel, hours: np.ndarray, exact_members: int = EXACT_MEMBERS) -> list[FrontPoint]:
    """All sets of members not beaten in both hours and loss, cheapest first. hours: (M,) of each member."""
    if model.members <= exact_members:
        points = _every_set(model, hours)
    else:
        points = _grown_sets(model, hours)
    points.sort(key=lambda point: (point.hours, point.loss, point.members))
    front: list[FrontPoint] = []
    for point in points:
        if not front or point.loss < front[-1].loss - 1e-12:
            front.append(point)
    return front


def best_within(front: list[FrontPoint], limit: float) -> FrontPoint | None:
    """The best set of a front that needs no more than `limit` hours; None when even the cheapest takes longer."""
    fitting = [point for point in front if point.hours <= limit]
    return fitting[-1] if fitting else None


def subset_losses(model: LocalModel) -> np.ndarray:
    """(2 ** M,) least loss of every set of members, indexed by its bits; inf for the empty set."""
    size = model.members
    hessian, linear = model.system()
    ridge = 1e-12 * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    best = np.full(1 << size, np.inf)
    masks = np.arange(1, 1 << size)
    bits = (masks[:, None] >> np.arange(size)) & 1
    at_center = model.value(np.zeros_like(linear), hessian, linear)  # minus the centre's own value
    for count in range(1, size + 1):
        sets = masks[bits.sum(axis=1) == count]
        members = np.nonzero(bits[bits.sum(axis=1) == count])[1].reshape(-1, count)
        best[sets] = _face_values(model, hessian + ridge, linear, members) + at_center
    for member in range(size):  # a set is at least as good as any set inside it
        with_it = masks[(masks >> member) & 1 == 1]
        best[with_it] = np.minimum(best[with_it], best[with_it ^ (1 << member)])
    return best


def _face_values(model: LocalModel, hessian: np.ndarray, linear: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(sets,) ½x'Hx - c'x at each set's optimum without signs; inf where a weight would be negative.

    members: (sets, k) indices of the sets of one size.
    """
    extra = np.tile(np.arange(model.members, len(linear)), (len(members), 1))
    index = np.concatenate([members, extra], axis=1)
    gram, right = hessian[index[:, :, None], index[:, None, :]], linear[index]
    k = index.shape[1]
    if model.simplex:
        scale = np.abs(np.diag(hessian)).max()
        system = np.zeros((len(index), k + 1, k + 1))
        system[:, :k, :k] = gram / scale
        system[:, k, :k] = system[:, :k, k] = 1.0
        target = np.concatenate([right / scale, np.ones((len(index), 1))], axis=1)
        x = np.linalg.solve(system, target[..., None])[:, :k, 0]
    else:
        x = np.linalg.solve(gram, right[..., None])[..., 0]
    value = 0.5 * np.einsum("si,sij,sj->s", x, gram, x) - np.einsum("si,si->s", x, right)
    return np.where(x[:, : members.shape[1]].min(axis=1) >= -1e-12, value, np.inf)


def _every_set(model: LocalModel, hours: np.ndarray) -> list[FrontPoint]:
    losses = subset_losses(model)
    masks = np.arange(1, len(losses))
    bits = (masks[:, None] >> np.arange(model.members)) & 1
    costs = bits @ hours
    order = np.lexsort((masks, losses[1:], costs))
    least = np.minimum.accumulate(losses[1:][order])
    kept = order[np.append(True, least[1:] < least[:-1] - 1e-12)]
    return [FrontPoint(tuple(np.flatnonzero(bits[i]).tolist()), float(costs[i]), float(losses[i + 1])) for i in kept]


def _grown_sets(model: LocalModel, hours: np.ndarray) -> list[FrontPoint]:
    """Sets of every size grown by gain per hour, each then improved by swaps that do not cost more."""
    system = model.system()
    known: dict[tuple[int, ...], float] = {}

    def loss_of(members: frozenset[int]) -> float:
        key = tuple(sorted(members))
        if key not in known:
            chosen = np.zeros(model.members, dtype=bool)
            chosen[list(key)] = True
            known[key] = model.loss_of(chosen, system)
        return known[key]

    starts = [min(range(model.members), key=lambda m: (loss_of(frozenset([m])), m)), int(np.argmin(hours))]
    for start in dict.fromkeys(starts):
        grown = frozenset([start])
        while len(grown) < model.members:
            base = loss_of(grown)
            rest = [m for m in range(model.members) if m not in grown]
            grown = grown | {max(rest, key=lambda m: ((base - loss_of(grown | {m})) / max(float(hours[m]), 1e-9), -m))}
            _swap(grown, hours, loss_of)  # every set it looks at is remembered in `known`
    return [FrontPoint(key, float(hours[list(key)].sum()), loss) for key, loss in known.items()]


def _swap(members: frozenset[int], hours: np.ndarray, loss_of: Callable[[frozenset[int]], float]) -> None:
    """Exchange one member for another, not dearer than the set was, as long as the loss falls."""
    limit = hours[list(members)].sum() + 1e-12
    while True:
        options = [
            (members - {out}) | {new}
            for out in sorted(members)
            for new in range(len(hours))
            if new not in members and hours[list((members - {out}) | {new})].sum() <= limit
        ]
        best = min(options, key=lambda option: (loss_of(option), sorted(option)), default=members)
        if loss_of(best) >= loss_of(members) - 1e-12:
            return
        members = best
