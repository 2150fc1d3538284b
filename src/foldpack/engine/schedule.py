"""What to do with the time that is left: all of it, or first fewer views, then fewer folds, then fewer members.

Pure arithmetic on costs, so that it can be tried with any clock.
"""

from __future__ import annotations

from dataclasses import dataclass

NEGLIGIBLE = 1e-6  # seconds


@dataclass(frozen=True)
class Remaining:
    """A unit that is not finished. Units are given in the plan's order: the most valuable for its cost first."""

    index: int
    run: str
    views: int  # all that it could do
    view_seconds: float  # for one view, of cost 1, of what is left of it, on all devices together
    load_seconds: float  # before its first part
    view_costs: tuple[float, ...] = ()  # of each view; (): all cost 1

    def seconds(self, views: int) -> float:
        """For the first so many views, without loading."""
        return self.view_seconds * (sum(self.view_costs[:views]) if self.view_costs else views)


def choose_views(remaining: list[Remaining], seconds: float, present: set[str]) -> dict[int, int]:
    """How many views each unit gets, by index; 0: it is left out.

    seconds: until the deadline; present: runs of which a unit is finished. Views go first, from the plan's end on; then
    units whose run has another unit, from the end on; then the rest, from the end on. What was left out and still fits
    into the time that became free comes back, the most valuable first.
    """
    views = {each.index: each.views for each in remaining}
    spent = sum(cost_of(each, each.views) for each in remaining)
    for each in reversed(remaining):
        if spent <= seconds:
            break
        fewer = fewest_views(each, spent - seconds)
        spent -= cost_of(each, views[each.index]) - cost_of(each, fewer)
        views[each.index] = fewer
    for only_further in (True, False):
        for each in reversed(remaining):
            if spent <= seconds:
                break
            if views[each.index] and (not only_further or has_other_unit(each, remaining, views, present)):
                spent -= cost_of(each, views[each.index])
                views[each.index] = 0
    return take_back(remaining, views, seconds - spent)


def take_back(remaining: list[Remaining], views: dict[int, int], free: float) -> dict[int, int]:
    """Use `free` seconds for what was left out, then for more views, in the plan's order."""
    for each in remaining:
        if not views[each.index] and cost_of(each, 1) <= free:
            views[each.index] = 1
            free -= cost_of(each, 1)
    for each in remaining:
        while 0 < (now := views[each.index]) < each.views and each.seconds(now + 1) - each.seconds(now) <= free:
            views[each.index] += 1
            free -= each.seconds(now + 1) - each.seconds(now)
    return views


def cost_of(each: Remaining, views: int) -> float:
    """Seconds of a unit with so many views."""
    return each.load_seconds + each.seconds(views) if views else 0.0


def fewest_views(each: Remaining, too_much: float) -> int:
    """As many views as can stay when a unit must become `too_much` seconds shorter; at least one."""
    whole = each.seconds(each.views)
    if whole <= NEGLIGIBLE:
        return each.views
    return next((views for views in range(each.views, 1, -1) if whole - each.seconds(views) >= too_much), 1)


def has_other_unit(each: Remaining, remaining: list[Remaining], views: dict[int, int], present: set[str]) -> bool:
    """Whether the run of a unit is there without it."""
    others = (other for other in remaining if other.run == each.run and other.index != each.index)
    return each.run in present or any(views[other.index] for other in others)
