"""The answer of finished units: the same bits in any order, and level 2 only where it is ready and there is time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_apply_level2 import C, make_spec, softmax_rows

from foldpack.data.rows import Rows
from foldpack.engine.units import plan_units
from foldpack.ensemble import score_fuser
from foldpack.ensemble.finished_units import FinishedUnits
from foldpack.ensemble.score_fuser import LEVEL2_SHARE, ScoreFuser

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
def level2(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Level 2 answers with ones; the calls are counted."""
    calls: list[int] = []

    def answer(spec: object, texts: list[str], rows: object, blended: np.ndarray) -> np.ndarray:
        calls.append(len(texts))
        return np.ones_like(blended)

    monkeypatch.setattr(score_fuser, "apply_level2", answer)
    return calls


def test_level_two_waits_for_its_members_and_its_boosters(level2: list[int]) -> None:
    units = units_in((0, 2))  # b is missing
    units.fuser.booster_texts = ["one", "two"]
    assert units.level2(1000.0, last=False) is None
    units.add(1)
    assert units.level2_units == 0
    answer = units.level2(1000.0, last=False)
    assert answer is not None and (answer[0].columns["probs"] == 1).all() and units.level2_units == 3
    units.fuser.booster_texts = []
    assert units.level2(1000.0, last=True) is None and level2 == [2]


def test_level_two_may_take_little_time_on_the_way_and_nearly_all_of_it_at_the_end(level2: list[int]) -> None:
    units = units_in((0, 1))
    units.fuser.booster_texts = ["one"]
    for left, last, answers in ((10.0 / LEVEL2_SHARE + 1, False, True), (10.0 / LEVEL2_SHARE - 1, False, False),
                                (12.1, True, True), (11.9, True, False)):
        units.fuser.level2_seconds = 10.0  # as measured the last time
        assert (units.level2(left, last) is not None) == answers
