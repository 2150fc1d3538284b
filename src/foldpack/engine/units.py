"""Units of work and their order: every prefix of the list is a sensible ensemble."""

from __future__ import annotations

from dataclasses import dataclass

from foldpack.settings.ensemble import fold_role
from foldpack.settings.stages import FoldSpec, MemberSpec, SpecError, StageSpec


@dataclass(frozen=True)
class Unit:
    """One fold of one member, all its views, over all items."""

    member: MemberSpec
    fold: FoldSpec

    @property
    def role(self) -> str:
        """What the sealed weights are bound to."""
        return fold_role(self.member.run, self.fold.fold)

    @property
    def headers(self) -> set[str]:
        """Of the sealed files without which it cannot be answered: its weights, and their gallery if they have one."""
        gallery = [] if self.fold.gallery is None else [str(self.fold.gallery.header)]
        return {str(self.fold.header), *gallery}


def plan_units(stage: StageSpec) -> list[Unit]:
    """All units of a stage in the plan's order; those that the plan does not name follow, one fold of every member at
    a time.

    Members of weight 0 are left out. Raises SpecError for a planned unit that is not among the members.
    """
    members = {member.run: member for member in stage.members if member.weight > 0}
    folds = {(run, fold.fold): Unit(member, fold) for run, member in members.items() for fold in member.folds}
    planned = [(unit.run, unit.fold) for unit in stage.plan.units] if stage.plan is not None else []
    if strange := [key for key in planned if key not in folds]:
        raise SpecError(f"plan.units names fold {strange[0][1]} of run '{strange[0][0]}', which has no weight here; "
                        "run `foldpack search` again")
    by_weight = sorted(members.values(), key=lambda member: -member.weight)
    depth = max(len(member.folds) for member in by_weight)
    rounds = [(m.run, m.folds[k].fold) for k in range(depth) for m in by_weight if k < len(m.folds)]
    return [folds[key] for key in dict.fromkeys([*planned, *rounds])]
