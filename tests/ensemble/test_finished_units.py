"""The answer of finished units: the same bits in any order, and level 2 only where it is ready and there is time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_apply_level2 import C, make_spec, softmax_rows

from foldpack.ensemble import finished_units
from foldpack.ensemble.finished_units import LEVEL2_SHARE, FinishedUnits

RUNS = ["a", "b", "c", "a", "b", "c"]
UNITS = [softmax_rows(7) for _ in RUNS]


def units_in(order: tuple[int, ...]) -> FinishedUnits:
    units = FinishedUnits(make_spec(), 7, RUNS, UNITS.__getitem__)
    for unit in order:
        units.add(unit)
    return units


def test_the_order_of_finishing_changes_no_bit() -> None:
    expected, decision = units_in((0, 1, 2, 3, 4, 5)).blended()
    assert expected.shape == (7, C) and decision.kind == "class"
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 37):
        units = units_in(order)
        assert units.added == [0, 1, 2, 3, 4, 5]
        assert units.blended()[0].tobytes() == expected.tobytes()


def test_a_unit_out_of_order_reads_only_its_own_run_again() -> None:
    read: list[int] = []

    def reading(unit: int) -> np.ndarray:
        read.append(unit)
        return UNITS[unit]

    units = FinishedUnits(make_spec(), 7, RUNS, reading)
    for unit in (3, 1, 2, 4, 5):
        units.add(unit)
    assert read == [3, 1, 2, 4, 5]
    units.add(0)
    assert sorted(read[5:]) in ([0, 0, 3], [0, 3]) and units.added == [0, 1, 2, 3, 4, 5]
    assert units.blended()[0].tobytes() == units_in((0, 1, 2, 3, 4, 5)).blended()[0].tobytes()


def test_a_unit_that_is_taken_out_leaves_no_trace() -> None:
    units = units_in((0, 1, 2, 3, 4, 5))
    for unit, left in ((3, (0, 1, 2, 4, 5)), (0, (1, 2, 4, 5)), (5, (1, 2, 4)), (5, (1, 2, 4))):
        units.drop(unit)
        assert units.added == list(left)
        assert units.blended()[0].tobytes() == units_in(left).blended()[0].tobytes()


@pytest.mark.parametrize("order", [(1, 2, 0), (3, 1, 0)])
def test_a_unit_that_cannot_be_read_or_blended_changes_nothing(order: tuple[int, ...]) -> None:
    """Also where it comes out of order; and the first of its run leaves no empty sums behind."""
    wrong = {0: np.ones((3, 3), np.float32)}
    units = FinishedUnits(make_spec(), 7, RUNS, lambda unit: wrong.get(unit, UNITS[unit]))
    for unit in order[:-1]:
        units.add(unit)
    with pytest.raises(ValueError):  # whatever NumPy says of shapes
        units.add(order[-1])
    there = tuple(sorted(order[:-1]))
    assert units.added == list(there) and units.blended()[0].tobytes() == units_in(there).blended()[0].tobytes()


@pytest.fixture
def level2(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Level 2 answers with ones; the calls are counted."""
    calls: list[int] = []

    def answer(spec: object, texts: list[str], rows: object, blended: np.ndarray) -> np.ndarray:
        calls.append(len(texts))
        return np.ones_like(blended)

    monkeypatch.setattr(finished_units, "apply_level2", answer)
    return calls


def test_level_two_waits_for_its_members_and_its_boosters(level2: list[int]) -> None:
    units = units_in((0, 2))  # b is missing
    units.booster_texts = ["one", "two"]
    assert units.level2(units.blended()[0], 1000.0, last=False) is None
    units.add(1)
    assert units.level2_units == 0
    answer = units.level2(units.blended()[0], 1000.0, last=False)
    assert answer is not None and (answer[0] == 1).all() and units.level2_units == 3
    units.booster_texts = []
    assert units.level2(units.blended()[0], 1000.0, last=True) is None and level2 == [2]


def test_level_two_may_take_little_time_on_the_way_and_nearly_all_of_it_at_the_end(level2: list[int]) -> None:
    units = units_in((0, 1))
    units.booster_texts = ["one"]
    blended = units.blended()[0]
    for left, last, answers in ((10.0 / LEVEL2_SHARE + 1, False, True), (10.0 / LEVEL2_SHARE - 1, False, False),
                                (12.1, True, True), (11.9, True, False)):
        units.level2_seconds = 10.0  # as measured the last time
        assert (units.level2(blended, left, last) is not None) == answers
