"""The answer of finished units: the same bits in any order, and level 2 only where it is ready and there is time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_apply_level2 import C, make_spec, softmax_rows

from foldpack.data.rows import Rows
from foldpack.engine.units import plan_units
from foldpack.ensemble import level2
from foldpack.ensemble.finished_units import FinishedUnits
from foldpack.ensemble.level2 import LEVEL2_SHARE, BoosterFuser
from foldpack.ensemble.score_fuser import ScoreFuser

PLAN = plan_units(make_spec())  # a, b, c, a, b, c
UNITS = [Rows({"probs": softmax_rows(7)}) for _ in PLAN]


def blended(units: FinishedUnits) -> bytes:
    """The blend, to the last bit."""
    return units.fuser.result()[0].columns["probs"].tobytes()


def units_in(order: tuple[int, ...]) -> FinishedUnits:
    units = FinishedUnits(ScoreFuser(make_spec(), 7), PLAN, UNITS.__getitem__)
    for unit in order:
        units.add(unit)
    return units


def test_the_order_of_finishing_changes_no_bit() -> None:
    rows, decision = units_in((0, 1, 2, 3, 4, 5)).fuser.result()
    expected = rows.columns["probs"]
    assert expected.shape == (7, C) and decision.kind == "class"
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 37):
        units = units_in(order)
        assert units.added == [0, 1, 2, 3, 4, 5]
        assert blended(units) == expected.tobytes()


def test_a_unit_out_of_order_reads_only_its_own_run_again() -> None:
    read: list[int] = []

    def reading(unit: int) -> Rows:
        read.append(unit)
        return UNITS[unit]

    units = FinishedUnits(ScoreFuser(make_spec(), 7), PLAN, reading)
    for unit in (3, 1, 2, 4, 5):
        units.add(unit)
    assert read == [3, 1, 2, 4, 5]
    units.add(0)
    assert sorted(read[5:]) in ([0, 0, 3], [0, 3]) and units.added == [0, 1, 2, 3, 4, 5]
    assert blended(units) == blended(units_in((0, 1, 2, 3, 4, 5)))


def test_a_unit_that_is_taken_out_leaves_no_trace() -> None:
    units = units_in((0, 1, 2, 3, 4, 5))
    for unit, left in ((3, (0, 1, 2, 4, 5)), (0, (1, 2, 4, 5)), (5, (1, 2, 4)), (5, (1, 2, 4))):
        units.drop(unit)
        assert units.added == list(left)
        assert blended(units) == blended(units_in(left))


@pytest.mark.parametrize("order", [(1, 2, 0), (3, 1, 0)])
def test_a_unit_that_cannot_be_read_or_blended_changes_nothing(order: tuple[int, ...]) -> None:
    """Also where it comes out of order; and the first of its run leaves no empty sums behind."""
    wrong = {0: Rows({"probs": np.ones((3, 3), np.float32)})}
    units = FinishedUnits(ScoreFuser(make_spec(), 7), PLAN, lambda unit: wrong.get(unit, UNITS[unit]))
    for unit in order[:-1]:
        units.add(unit)
    with pytest.raises(ValueError):  # whatever NumPy says of shapes
        units.add(order[-1])
    there = tuple(sorted(order[:-1]))
    assert units.added == list(there) and blended(units) == blended(units_in(there))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Level 2 answers with ones; how many boosters it had each time."""
    calls: list[int] = []

    def answer(boosters: list[tuple[str, str]], rows: object, blend: np.ndarray, *options: object) -> np.ndarray:
        calls.append(len(boosters))
        return np.ones_like(blend)

    monkeypatch.setattr(level2, "level2_probs", answer)
    return calls


def test_level_two_waits_for_its_members(answers: list[int]) -> None:
    fuser = BoosterFuser(make_spec(), ScoreFuser(make_spec(), 7), ["one", "two"])
    units = FinishedUnits(fuser, PLAN, UNITS.__getitem__)
    assert not fuser.stale
    units.add(0)
    units.add(2)  # b is missing
    assert fuser.better(1000.0, last=False) is None and fuser.stale
    units.add(1)
    answer = fuser.better(1000.0, last=False)
    assert answer is not None and (answer[0].columns["probs"] == 1).all() and not fuser.stale and answers == [2]
    assert blended(units) == blended(units_in((0, 1, 2)))
    units.drop(1)
    assert fuser.better(1000.0, last=True) is None and fuser.stale


def test_level_two_may_take_little_time_on_the_way_and_nearly_all_of_it_at_the_end(answers: list[int]) -> None:
    fuser = BoosterFuser(make_spec(), ScoreFuser(make_spec(), 7), ["one", "two"])
    for unit in (0, 1):
        fuser.add(PLAN[unit], UNITS[unit])
    for left, last, answered in ((10.0 / LEVEL2_SHARE + 1, False, True), (10.0 / LEVEL2_SHARE - 1, False, False),
                                 (12.1, True, True), (11.9, True, False)):
        fuser.seconds = 10.0  # as measured the last time
        assert (fuser.better(left, last) is not None) == answered


def test_a_unit_that_cannot_be_blended_changes_nothing_for_level_two() -> None:
    fuser = BoosterFuser(make_spec(), ScoreFuser(make_spec(), 7), ["one", "two"])
    for unit in (0, 1):
        fuser.add(PLAN[unit], UNITS[unit])
    rows, blend = fuser.member_rows(0, 7), fuser.result()[0].columns["probs"]
    with pytest.raises(ValueError):  # whatever NumPy says of shapes
        fuser.add(PLAN[3], Rows({"probs": np.ones((3, 3), np.float32)}))
    assert (fuser.member_rows(0, 7) == rows).all() and (fuser.result()[0].columns["probs"] == blend).all()
