"""Units of work and their order: every prefix of the list is a sensible ensemble."""

from __future__ import annotations

from dataclasses import dataclass

from foldpack.spec import EnsembleSpec, FoldSpec, MemberSpec, fold_role


@dataclass(frozen=True)
class Unit:
    """One fold of one member, all its views, over all items."""

    member: MemberSpec
    fold: FoldSpec
    weight: float  # share of this fold in the finished blend

    @property
    def role(self) -> str:
        """What the sealed weights are bound to."""
        return fold_role(self.member.run, self.fold.fold)


def plan_units(spec: EnsembleSpec) -> list[Unit]:
    """First one fold of every member, heaviest first, then the second fold of each, and so on. Weight 0 is left out."""
    total = sum(member.weight for member in spec.members)
    members = sorted((m for m in spec.members if m.weight > 0), key=lambda m: -m.weight)
    depth = max(len(member.folds) for member in members)
    return [
        Unit(member, member.folds[k], member.weight / total / len(member.folds))
        for k in range(depth)
        for member in members
        if k < len(member.folds)
    ]
