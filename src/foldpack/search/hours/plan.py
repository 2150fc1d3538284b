"""The order of units for value and cost, so that whatever is finished when time runs out is a good ensemble.

Out-of-fold rows are predicted by one fold model each, so they tell what a member is worth with one fold and not what
its further folds add. The plan therefore runs one fold of every member first, by measured gain per hour, and then
the further folds by an assumption: a member's own variance falls as 1 / folds, and its share counts squared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.search.weights.local_model import LocalModel


@dataclass(frozen=True)
class PlannedUnit:
    """One fold (0-based place in the member's list) of one member, and the hours when it will be done."""

    member: int
    fold: int
    hours: float


def plan_units(model: LocalModel, weights: np.ndarray, hours: np.ndarray, folds: np.ndarray) -> list[PlannedUnit]:
    """Order the units of all members with weight.

    weights: (M,) of the finished blend, sum 1; hours: (M,) of one fold of each; folds: (M,) int, how many each has.
    """
    order = [(member, 0) for member in member_order(model, weights, hours)]
    further = []
    for member in np.flatnonzero(weights > 0):
        for fold in range(1, int(folds[member])):
            calmer = weights[member] ** 2 * (1 / fold - 1 / (fold + 1))
            further.append((-calmer / max(hours[member], 1e-9), fold, int(member)))
    order += [(member, fold) for _, fold, member in sorted(further)]
    done = np.cumsum([hours[member] for member, _ in order])
    return [PlannedUnit(member, fold, float(at)) for (member, fold), at in zip(order, done, strict=True)]


def member_order(model: LocalModel, weights: np.ndarray, hours: np.ndarray) -> list[int]:
    """Members with weight, each step the one that lowers the loss most per hour beside those already there.

    The first is the one that is best alone, unless a cheaper one loses less than its saving in hours is worth: gains
    are counted from the loss of the worst member alone.
    """
    system = model.system()
    left = [int(m) for m in np.flatnonzero(weights > 0)]
    present = np.zeros(model.members, dtype=bool)

    def loss_with(member: int) -> float:
        chosen = present.copy()
        chosen[member] = True
        return model.loss_of(chosen, system)

    base = max(loss_with(member) for member in left)
    order: list[int] = []
    while left:
        losses = {member: loss_with(member) for member in left}
        best = max(left, key=lambda m: ((base - losses[m]) / max(float(hours[m]), 1e-9), -m))
        order.append(best)
        left.remove(best)
        present[best] = True
        base = losses[best]
    return order


def prefix_sets(order: list[PlannedUnit]) -> list[list[int]]:
    """The members present after each unit that brings a new one: the prefixes that need weights of their own."""
    sets: list[list[int]] = []
    for unit in order:
        if unit.fold == 0:
            sets.append([*(sets[-1] if sets else []), unit.member])
    return sets
