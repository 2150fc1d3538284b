"""The engine on made-up machines: it ends in time, finishes whole units, once each, and its estimate comes true."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from virtual_pool import Machine, Outcome, noisy, play

from foldpack.engine.engine import MAX_LOSSES
from foldpack.engine.runlog import LOG_NAME
from foldpack.engine.work import Shard, UnitWork

SPEC = {"a": 0.01, "b": 0.02, "c": 0.04}  # seconds for an image and view
VIEWS = {"a": 8, "b": 2, "c": 4}
UNITS = [UnitWork(f"{run}/fold{fold}", run, VIEWS[run]) for fold in range(3) for run in SPEC]
WORK = sum(SPEC[unit.run] * unit.views for unit in UNITS)  # seconds for one item
LATEST = 0.97  # of the limit


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.engine.runlog.RunLog.say", lambda self, text: None)


def hours_for(seconds: float) -> float:
    """A limit that leaves so many seconds for work."""
    return seconds / 3600 / 0.94


def require_in_time(outcome: Outcome, hours: float) -> None:
    assert outcome.ended <= LATEST * 3600 * hours
    assert set(outcome.finished) == outcome.engine.finished
    assert not set(outcome.finished) & set(outcome.failed)


def require_estimates(outcome: Outcome, after: float = 0.05, tolerance: float = 0.1) -> None:
    """From 5 % of the work on the expected end is within 10 % of the true one."""
    late = [(now, end) for now, end in outcome.estimates if now >= after * outcome.ended]
    assert len(late) > 20
    worst = max(late, key=lambda pair: abs(pair[1] - outcome.ended))
    assert abs(worst[1] - outcome.ended) <= tolerance * outcome.ended, f"{worst} of {outcome.ended}"


@pytest.mark.parametrize(("devices", "inline"), [(1, True), (1, False), (2, False), (4, False)])
@pytest.mark.parametrize("factor", [1, 2, 5, 20])
def test_a_machine_slower_than_the_spec_says(factor: int, devices: int, inline: bool) -> None:
    """With time enough everything is done, and from 5 % on the estimate is right; with less, what fits is."""
    rows = 1000
    needed = WORK * rows * factor / devices
    machine = Machine(noisy(factor, SPEC, 1))
    ample = hours_for(1.25 * needed + 100)
    full = play(machine, UNITS, SPEC, rows=rows, devices=devices, inline=inline, hours=ample)
    require_in_time(full, ample)
    assert sorted(full.finished) == list(range(9)) and all(full.whole.values())
    assert full.ended <= 1.1 * needed + 40
    require_estimates(full)
    for share in (0.6, 0.2):
        short = hours_for(share * needed)
        outcome = play(machine, UNITS, SPEC, rows=rows, devices=devices, inline=inline, hours=short)
        require_in_time(outcome, short)
        assert 0 in outcome.finished  # the most valuable
        assert outcome.ended >= 0.6 * 3600 * short  # and the time is used
    assert not all(outcome.whole.values())


@pytest.mark.parametrize("share", [1.25, 0.6, 0.3])
def test_views_of_more_pixels_are_planned_by_their_pixels(share: float) -> None:
    """One at twice the side takes as long as four: it is neither taken for slow, nor planned as a short one."""
    units = [UnitWork(f"{run}/fold{fold}", run, 3, (1.0, 4.0, 0.25)) for fold in range(3) for run in SPEC]
    needed = sum(SPEC[unit.run] * 5.25 for unit in units) * 1000
    hours = hours_for(share * needed + (100 if share > 1 else 0))
    outcome = play(Machine(noisy(1, SPEC, 1)), units, SPEC, hours=hours)
    require_in_time(outcome, hours)
    assert 0 in outcome.finished and outcome.ended >= 0.6 * min(3600 * hours, needed)
    assert abs(outcome.engine.costs.factor - 1) <= 0.05
    if share > 1:
        assert all(outcome.whole.values()) and len(outcome.finished) == 9
        require_estimates(outcome)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_machine_that_slows_down_midway(inline: bool, share: float) -> None:
    rows = 1000
    needed = WORK * rows
    machine = Machine(lambda run, now: SPEC[run] * (1.6 if now > share * needed else 1.0))
    hours = hours_for(needed * 1.05)
    outcome = play(machine, UNITS, SPEC, rows=rows, inline=inline, hours=hours)
    require_in_time(outcome, hours)
    assert len(outcome.finished) >= 7
    slow = [end for now, end in outcome.estimates if now > share * needed + 0.1 * needed]
    assert slow and max(abs(end - outcome.ended) for end in slow) <= 0.1 * outcome.ended
    again = play(machine, UNITS, SPEC, rows=rows, inline=inline, hours=3 * hours)
    assert len(again.finished) == 9 and all(again.whole.values())


def test_a_machine_a_hundred_times_slower_is_not_taken_for_one_that_hangs() -> None:
    """The first shard takes 477 seconds where the spec says 5: before anything was measured, that is no hang."""
    units = [UnitWork("a/fold0", "a", 8), UnitWork("a/fold1", "a", 8)]
    outcome = play(Machine(noisy(100, SPEC, 1)), units, SPEC, rows=200, devices=2, hours=1.0)
    require_in_time(outcome, 1.0)
    assert not outcome.failed and 0 in outcome.finished


@pytest.mark.parametrize("devices", [1, 2])
def test_a_worker_that_hangs_costs_its_shard_some_time(devices: int) -> None:
    def fault(shard: Shard, attempt: int) -> str:
        return "hang" if attempt == 1 and shard.start == 128 and shard.unit in (2, 5) else ""

    outcome = play(Machine(noisy(1, SPEC, 4), fault=fault), UNITS, SPEC, devices=devices, hours=1.0)
    require_in_time(outcome, 1.0)
    assert sorted(outcome.finished) == list(range(9)) and not outcome.failed
    assert sum(event["event"] == "worker lost" for event in outcome.events) == 2


@pytest.mark.parametrize("hours", [0.3, 1.0])
def test_workers_that_always_hang_end_in_time_with_nothing(hours: float) -> None:
    outcome = play(Machine(noisy(1, SPEC, 4), fault=lambda shard, attempt: "hang"), UNITS, SPEC, devices=2, hours=hours)
    require_in_time(outcome, hours)
    assert outcome.finished == []


@pytest.mark.parametrize("inline", [True, False])
def test_running_out_of_memory_at_every_batch_costs_time_only(inline: bool) -> None:
    """Each shard of a run loses time on halving until the size is known, and then takes 1.4 times as long."""
    known: set[str] = set()

    def overhead(shard: Shard) -> float:
        run = UNITS[shard.unit].run
        first = run not in known
        known.add(run)
        return 30.0 if first else 0.0

    machine = Machine(noisy(1.4, SPEC, 5), overhead=overhead)
    hours = hours_for(1.7 * WORK * 1000)
    outcome = play(machine, UNITS, SPEC, inline=inline, hours=hours)
    require_in_time(outcome, hours)
    assert sorted(outcome.finished) == list(range(9)) and all(outcome.whole.values())
    known.clear()
    tight = hours_for(0.5 * WORK * 1000)
    machine = Machine(noisy(1.4, SPEC, 5), overhead=lambda shard: 5.0)  # never remembered: the worst case
    outcome = play(machine, UNITS, SPEC, inline=inline, hours=tight)
    require_in_time(outcome, tight)
    assert outcome.finished


@pytest.mark.parametrize("inline", [True, False])
def test_networks_that_load_slowly(inline: bool) -> None:
    machine = Machine(noisy(1, SPEC, 6), load=60)
    for hours in (hours_for(WORK * 1000), 2.0):
        outcome = play(machine, UNITS, SPEC, inline=inline, hours=hours)
        require_in_time(outcome, hours)
    assert len(outcome.finished) == 9
    require_estimates(outcome, after=0.1)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("images_per_second", [2.0, 0.5])
def test_images_that_are_decoded_slowly(inline: bool, images_per_second: float) -> None:
    """The devices wait; the estimate knows that they will."""
    machine = Machine(noisy(0.5, SPEC, 7), images_per_second=images_per_second)
    outcome = play(machine, UNITS, SPEC, inline=inline, hours=1.5)
    require_in_time(outcome, 1.5)
    assert len(outcome.finished) == 9 and all(outcome.whole.values())
    require_estimates(outcome, after=0.1, tolerance=0.12)
    if inline:
        assert outcome.engine.waited_for_images > 0.5 * 1000 / images_per_second - 100


def test_images_that_seem_too_slow_are_waited_for() -> None:
    """At first decoding looks hopeless; that must not end the run while there is time."""
    machine = Machine(noisy(0.1, SPEC, 2), images_per_second=0.5)
    outcome = play(machine, UNITS, SPEC, rows=800, hours=0.5)
    require_in_time(outcome, 0.5)
    assert outcome.finished and outcome.ended > 1500


def test_one_slow_moment_does_not_end_the_run() -> None:
    """A shard that took a hundred times as long makes everything look too slow; the next one shows the truth."""
    machine = Machine(lambda run, now: SPEC[run] * (60.0 if 100 < now < 104 else 1.0))
    outcome = play(machine, UNITS, SPEC, inline=True, hours=hours_for(1.7 * WORK * 1000))
    assert len(outcome.finished) == 9
    assert not any(event["event"] == "nothing fits" for event in outcome.events)


def test_warming_up_costs_no_views_where_there_is_time_for_a_second_look() -> None:
    """The first shard is 50 times slower than the others: compiling, caches, a cold disk."""
    machine = Machine(lambda run, now: SPEC[run] * (25 if now < 3 else 1.0))
    hours = hours_for(1.6 * WORK * 1000)
    for inline in (True, False):
        outcome = play(machine, UNITS, SPEC, inline=inline, hours=hours, shard_rows=16)
        assert len(outcome.finished) == 9 and all(outcome.whole.values())


def test_what_comes_after_a_unit_counts_too() -> None:
    machine = Machine(noisy(1, SPEC, 8), finish=30.0)
    needed = WORK * 1000 + 9 * 32
    full = play(machine, UNITS, SPEC, hours=hours_for(1.2 * needed))
    assert len(full.finished) == 9
    late = [end for now, end in full.estimates if now > 0.25 * full.ended]  # one unit was finished: the cost is known
    assert max(abs(end - full.ended) for end in late) <= 0.1 * full.ended
    short = hours_for(0.6 * needed)
    require_in_time(play(machine, UNITS, SPEC, hours=short), short)


@pytest.mark.parametrize("fault", ["lose", "lose after"])
def test_workers_lost_at_random(fault: str) -> None:
    """Each unit is finished exactly once; no shard that was answered is done again."""
    dice = random.Random(9)

    def lost(shard: Shard, attempt: int) -> str:
        return fault if attempt < MAX_LOSSES and dice.random() < 0.15 else ""

    outcome = play(Machine(noisy(1, SPEC, 9), fault=lost), UNITS, SPEC, devices=3, hours=2.0)
    assert sorted(outcome.finished) == list(range(9)) and all(outcome.whole.values())
    assert set(outcome.pool.answered.values()) == {1}
    assert max(outcome.pool.attempts.values()) > 1
    assert any(event["event"] == "worker lost" for event in outcome.events)


def test_a_shard_that_kills_its_workers_is_given_up_and_those_behind_it_are_not() -> None:
    """The shard that waited for the fatal one was lost as often, and is innocent."""
    def fatal(shard: Shard, attempt: int) -> str:
        return "lose" if (shard.unit, shard.start) == (3, 64) else ""

    outcome = play(Machine(noisy(1, SPEC, 1), fault=fatal), UNITS, SPEC, devices=1, hours=2.0)
    assert outcome.failed == [3] and sorted(outcome.finished) == [0, 1, 2, 4, 5, 6, 7, 8]
    told = next(event for event in outcome.events if event["event"] == "unit failed")
    assert told["unit"] == "a/fold1"
    assert f"{MAX_LOSSES} workers were lost at rows 64 to 128" in str(told["reason"])


@pytest.mark.parametrize(("inline", "devices"), [(True, 1), (False, 2)])
def test_failed_units_under_both_policies(inline: bool, devices: int) -> None:
    machine = Machine(noisy(1, SPEC, 1), fault=lambda shard, attempt: "fail" if shard.unit in (1, 4) else "")
    outcome = play(machine, UNITS, SPEC, inline=inline, devices=devices, hours=2.0)
    assert outcome.failed == [1, 4] and sorted(outcome.finished) == [0, 2, 3, 5, 6, 7, 8]  # told once each
    with pytest.raises(RuntimeError, match="made up"):
        play(machine, UNITS, SPEC, inline=inline, devices=devices, hours=2.0, go_on=False)


def test_units_that_are_finished_already_are_not_done_again() -> None:
    outcome = play(Machine(noisy(1, SPEC, 1)), UNITS, SPEC, hours=2.0, done={0, 4})
    assert sorted(outcome.finished) == [1, 2, 3, 5, 6, 7, 8]
    assert {unit for unit, _ in outcome.pool.answered} == set(outcome.finished)
    nothing = play(Machine(noisy(1, SPEC, 1)), UNITS, SPEC, done=set(range(9)))
    assert nothing.finished == [] and nothing.ended < 1


def test_units_are_finished_in_the_order_of_the_plan() -> None:
    outcome = play(Machine(noisy(1, SPEC, 1)), UNITS, SPEC, inline=True, hours=2.0)
    assert outcome.finished == list(range(9))


def test_decisions_are_logged_for_machines(tmp_path: Path) -> None:
    outcome = play(Machine(noisy(3, SPEC, 1)), UNITS, SPEC, hours=hours_for(WORK * 1000), folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == outcome.events and LOG_NAME.endswith(".jsonl")
    plans = [line for line in lines if line["event"] == "plan"]
    assert len(plans) >= 2 and plans[-1]["fewer_views"] and 2.5 < plans[-1]["device_factor"] < 3.5
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)


def test_plans_are_made_again_at_least_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    from foldpack.engine.engine import Engine

    real = Engine.choose

    def choose(self: Engine, present: set[str]) -> dict[int, int]:
        made.append(self.deadline.elapsed())
        return real(self, present)

    monkeypatch.setattr(Engine, "choose", choose)
    outcome = play(Machine(noisy(5, SPEC, 1)), UNITS, SPEC, devices=2, hours=2.0)
    gaps = [later - earlier for earlier, later in zip(made, [*made[1:], outcome.ended], strict=True)]
    assert len(made) > 30 and max(gaps) <= 60 + 2 * outcome.pool.step


FAULTS = ("", "", "", "", "", "hang", "lose", "lose after", "fail")


def random_faults(seed: int, often: float) -> Callable[[Shard, int], str]:
    dice = random.Random(seed)

    def fault(shard: Shard, attempt: int) -> str:
        return dice.choice(FAULTS) if dice.random() < often else ""

    return fault


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    factor=st.floats(-0.5, 2.0).map(lambda exponent: 10**exponent), spread=st.floats(0, 0.5),
    devices=st.integers(0, 4), hours=st.floats(0.05, 1.0), rows=st.integers(1, 400), shard_rows=st.integers(1, 200),
    load=st.floats(0, 20), finish=st.floats(0, 3), images=st.floats(-1, 3).map(lambda exponent: 10**exponent),
    often=st.sampled_from([0.0, 0.0, 0.05, 0.3]), seed=st.integers(0, 2**32), slowing=st.sampled_from([1.0, 1.6, 4.0]),
    units=st.lists(st.sampled_from(list(SPEC)), min_size=1, max_size=8))
def test_whatever_happens_it_ends_in_time_and_what_is_finished_is_whole(
        factor: float, spread: float, devices: int, hours: float, rows: int, shard_rows: int, load: float,
        finish: float, images: float, often: float, seed: int, slowing: float, units: list[str]) -> None:
    """devices 0: no worker processes. Then one batch, or one network's loading, must fit into the margin's half."""
    inline = devices == 0
    if inline:
        often = 0.0
        assume(32 * 0.04 * factor * slowing * (1 + spread) + load + finish < 0.025 * 3600 * hours)
    assume(finish < 0.025 * 3600 * hours)
    noise = noisy(factor, SPEC, seed, spread)
    machine = Machine(lambda run, now: noise(run, now) * (slowing if now > 1000 * hours else 1), load,
                      images, random_faults(seed, often), finish)
    work = [UnitWork(f"{run}/fold{place}", run, VIEWS[run]) for place, run in enumerate(units)]
    outcome = play(machine, work, SPEC, rows, shard_rows, max(1, devices), inline, hours)
    require_in_time(outcome, hours)
    for unit, whole in outcome.whole.items():
        views = set(outcome.pool.written[unit].values())
        assert not whole or views == {work[unit].views}
    open_units = set(range(len(work))) - set(outcome.finished) - set(outcome.failed)
    if open_units and outcome.ended < 0.5 * 3600 * hours:  # it gave up early: then nothing more fitted
        assert outcome.events[-1]["event"] == "nothing fits"
