"""The blend of whatever is finished: members by the plan's weights for exactly those that are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.ensemble.blend import blend_sums
from foldpack.ensemble.spaces import to_blend_space
from foldpack.settings.stages import Decision, StageSpec


@dataclass(frozen=True)
class BlendRule:
    """How to blend the members that are there, and what to decide of the result."""

    shares: dict[str, float]  # weight of each run
    scale: float
    bias: float
    decision: Decision


class MemberBlend:
    """Sums the folds of each member in the ensemble's blend space; valid after every unit.

    A member counts as the mean of its finished folds. As long as members are missing, the weights, scale, bias and
    threshold are those that the search refitted for the members present; a set that the plan does not foresee (a unit
    was left out) takes the finished blend's weights, renormalised.
    """

    def __init__(self, stage: StageSpec, n_items: int) -> None:
        self._stage = stage
        self._exclusive = stage.outputs.exclusive
        self._shape = (n_items, len(stage.outputs.names))
        self._sums: dict[str, np.ndarray] = {}
        self._folds: dict[str, int] = {}
        self.parts = 0

    def add(self, run: str, probs: np.ndarray) -> None:
        """Add one finished unit. probs: (n, C) float32 in [0, 1]. What is raised leaves the sums as they were."""
        values = to_blend_space(probs, self._stage.scores.space, self._stage.scores.power, self._exclusive)
        sums = self._sums[run] if run in self._sums else np.zeros(self._shape, dtype=np.float64)
        sums += values
        self._sums[run] = sums
        self._folds[run] = self._folds.get(run, 0) + 1
        self.parts += 1

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""
        self.parts -= self._folds.get(run, 0)
        self._sums.pop(run, None)
        self._folds.pop(run, None)

    def rule(self) -> BlendRule:
        """Weights, scale, bias and decision for the members present."""
        return rule_for(self._stage, set(self._sums))

    def result(self) -> np.ndarray:
        """(n, C) float32 probabilities of what is finished. Raises ValueError before the first unit."""
        rule = self.rule()
        shares = {run: weight for run, weight in rule.shares.items() if run in self._sums}
        if not sum(shares.values()) > 0:
            raise ValueError("no finished unit has any weight")
        form = self._stage.scores.model_copy(update={"scale": rule.scale, "bias": rule.bias})
        sums, folds = (self._sums[run] for run in shares), [self._folds[run] for run in shares]
        return blend_sums(sums, list(shares.values()), form, self._exclusive, folds)


def rule_for(stage: StageSpec, present: set[str]) -> BlendRule:
    """How to blend these runs: the plan's prefix with exactly these members, else the finished blend's weights."""
    weighted = {member.run for member in stage.members if member.weight > 0}
    if stage.plan is not None and present != weighted:
        for prefix in stage.plan.prefixes:
            if {share.run for share in prefix.members} == present:
                shares = {share.run: share.weight for share in prefix.members}
                return BlendRule(shares, prefix.scale, prefix.bias, prefix.decision or stage.decision)
    shares = {member.run: member.weight for member in stage.members if member.run in present or not present}
    return BlendRule(shares, stage.scores.scale, stage.scores.bias, stage.decision)
