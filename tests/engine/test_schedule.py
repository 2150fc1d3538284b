"""The ladder: views go first, then folds, then members; never over the time; what fits comes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.engine.schedule import Remaining, choose_views, cost_of, fewest_views

EPSILON = 1e-4


def unit(index: int, run: str, views: int = 1, seconds: float = 1.0, load: float = 0.0,
         costs: tuple[float, ...] = ()) -> Remaining:
    return Remaining(index, run, views, seconds, load, costs)


FOUR = [unit(0, "a", 4), unit(1, "b", 2), unit(2, "a", 4), unit(3, "b", 2)]  # 12 seconds in all


def test_with_time_enough_everything_is_done() -> None:
    assert choose_views(FOUR, 12.0, set()) == {0: 4, 1: 2, 2: 4, 3: 2}


def test_views_go_first_from_the_end_on() -> None:
    assert choose_views(FOUR, 11.0, set()) == {0: 4, 1: 2, 2: 4, 3: 1}
    assert choose_views(FOUR, 8.0, set()) == {0: 4, 1: 2, 2: 1, 3: 1}
    assert choose_views(FOUR, 4.0, set()) == {0: 1, 1: 1, 2: 1, 3: 1}


def test_then_folds_and_only_then_members() -> None:
    assert choose_views(FOUR, 3.0, set()) == {0: 1, 1: 1, 2: 1, 3: 0}
    assert choose_views(FOUR, 2.0, set()) == {0: 1, 1: 1, 2: 0, 3: 0}
    assert choose_views(FOUR, 1.0, set()) == {0: 1, 1: 0, 2: 0, 3: 0}
    assert choose_views(FOUR, 0.5, set()) == {0: 0, 1: 0, 2: 0, 3: 0}


def test_a_member_that_has_a_finished_fold_gives_way_to_one_that_has_none() -> None:
    assert choose_views(FOUR, 1.0, {"a"}) == {0: 0, 1: 1, 2: 0, 3: 0}


def test_what_was_left_out_and_still_fits_comes_back() -> None:
    """The long unit does not fit; the short one after it does, and then its views do."""
    units = [unit(0, "a", 1, 10.0), unit(1, "b", 3, 1.0)]
    assert choose_views(units, 2.5, {"a", "b"}) == {0: 0, 1: 2}


def test_views_that_fit_come_back_before_anything_is_left_out() -> None:
    """The second unit gives up a view of three seconds where one was needed: the last gets its own back."""
    units = [unit(0, "a", 1, 0.0), unit(1, "a", 2, 3.0, 1.0), unit(2, "a", 2, 1.0)]
    assert choose_views(units, 7.0, set()) == {0: 1, 1: 1, 2: 2}


def test_loading_counts_once_for_a_unit() -> None:
    assert cost_of(unit(0, "a", 4, 2.0, 5.0), 3) == 11.0 and cost_of(unit(0, "a", 4, 2.0, 5.0), 0) == 0.0
    assert choose_views([unit(0, "a", 4, 1.0, 5.0)], 7.0, set()) == {0: 2}
    assert choose_views([unit(0, "a", 4, 1.0, 5.0)], 5.5, set()) == {0: 0}


def test_at_least_one_view_stays() -> None:
    assert fewest_views(unit(0, "a", 8, 1.0), 100.0) == 1 and fewest_views(unit(0, "a", 8, 1.0), 2.1) == 5
    assert fewest_views(unit(0, "a", 8, 0.0), 5.0) == 8  # views that cost nothing stay


def test_a_view_of_more_pixels_costs_more() -> None:
    """Three views, the second at twice the side: six seconds in all, of which it is four."""
    wide = unit(0, "a", 3, 1.0, 0.5, (1.0, 4.0, 1.0))
    assert [cost_of(wide, views) for views in range(4)] == [0.0, 1.5, 5.5, 6.5]
    assert fewest_views(wide, 0.5) == 2 and fewest_views(wide, 1.5) == 1 and fewest_views(wide, 9.0) == 1
    assert choose_views([wide], 6.4, set()) == {0: 2} and choose_views([wide], 5.4, set()) == {0: 1}
    narrow = unit(1, "b", 2, 1.0, 0.0, (1.0, 0.25))
    assert choose_views([wide, narrow], 2.75, set()) == {0: 1, 1: 2}


def test_nothing_is_left_to_do() -> None:
    assert choose_views([], 10.0, set()) == {} and choose_views([], -10.0, {"a"}) == {}


RUNS = st.sampled_from("abc")
SHARES = st.one_of(st.just(()), st.lists(st.sampled_from([0.25, 1.0, 4.0]), min_size=8, max_size=8).map(tuple))
LISTS = st.lists(st.tuples(RUNS, st.integers(1, 8), st.floats(0, 50), st.floats(0, 20), SHARES), max_size=10).map(
    lambda rows: [unit(index, *row) for index, row in enumerate(rows)])


@settings(max_examples=150, deadline=None)
@given(units=LISTS, seconds=st.floats(-10, 2000), present=st.sets(RUNS))
def test_the_laws_of_the_ladder(units: list[Remaining], seconds: float, present: set[str]) -> None:
    chosen = choose_views(units, seconds, present)
    assert list(chosen) == [each.index for each in units]
    assert all(0 <= chosen[each.index] <= each.views for each in units)
    spent = sum(cost_of(each, chosen[each.index]) for each in units)
    free = seconds - spent
    assert free >= -EPSILON or not any(chosen.values())  # never over the time
    if sum(cost_of(each, each.views) for each in units) <= seconds:
        assert all(chosen[each.index] == each.views for each in units)
    if free >= 0:  # nothing that fits is left out, and no view
        assert not any(chosen[each.index] == 0 and cost_of(each, 1) < free - EPSILON for each in units)
        assert not any(0 < (now := chosen[each.index]) < each.views
                       and each.seconds(now + 1) - each.seconds(now) < free - EPSILON for each in units)
    if sum(cost_of(each, 1) for each in units) <= seconds - EPSILON:
        assert all(chosen.values())  # views before folds
    first = {each.run: each for each in reversed(units) if each.run not in present}
    if sum(cost_of(each, 1) for each in first.values()) <= seconds - EPSILON:  # folds before members
        assert all(any(chosen[each.index] for each in units if each.run == run) for run in first)
