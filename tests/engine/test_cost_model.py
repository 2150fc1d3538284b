"""Costs: the spec's figures until something is measured; the first measurement pays for warming up."""

from __future__ import annotations

import pytest

from foldpack.engine.cost import LOAD_GUESS, SMOOTHING, CostModel, Measured


def test_the_first_measurement_is_replaced_and_then_averaged() -> None:
    seen = Measured()
    assert seen.average is None and seen.p95() is None
    seen.add(50.0)
    assert seen.average == 50.0
    seen.add(2.0)
    assert seen.average == 2.0 and seen.p95() == 2.0
    seen.add(3.0)
    assert seen.average == pytest.approx(2.0 + SMOOTHING)
    assert 2.9 < (seen.p95() or 0) <= 3.0


def test_the_average_follows_a_machine_that_slows_down() -> None:
    seen = Measured()
    for value in [1.0] * 20 + [1.6] * 8:
        seen.add(value)
    assert seen.average == pytest.approx(1.6, rel=0.03)


def test_before_anything_is_measured_the_spec_counts() -> None:
    costs = CostModel({"a": 0.1, "b": 0.4})
    assert (costs.seconds("a"), costs.seconds("b"), costs.factor) == (0.1, 0.4, 1.0)
    assert costs.load_seconds() == LOAD_GUESS and costs.finish_seconds() == 0.0
    assert not costs.any_measured() and not costs.any_settled() and costs.fresh("a")
    assert costs.slow_seconds("a") == 0.1 and costs.quick_share("a") == 1.0


def test_a_run_that_was_not_measured_is_as_much_slower_as_the_others() -> None:
    costs = CostModel({"a": 0.1, "b": 0.4, "c": 0.2})
    costs.measure("a", 10, 2, 6.0)
    assert costs.seconds("a") == pytest.approx(0.3) and costs.factor == pytest.approx(3.0)
    costs.measure("a", 10, 2, 4.0)
    assert costs.seconds("b") == pytest.approx(0.8) and costs.any_settled()
    costs.measure("c", 1, 1, 1.0)  # the median over a and c counts only what no longer rests on one measurement
    assert costs.factor == pytest.approx(2.0)


def test_the_first_measurement_of_a_later_run_is_not_believed_when_it_is_dear() -> None:
    costs = CostModel({"a": 0.1, "b": 0.4})
    for _ in range(3):
        costs.measure("a", 10, 1, 2.0)  # twice as slow as the spec says
    costs.measure("b", 10, 1, 80.0)
    assert costs.seconds("b") == pytest.approx(0.8)
    costs.measure("b", 10, 1, 80.0)
    assert costs.seconds("b") == pytest.approx(8.0)
    assert costs.fresh("b") and not costs.fresh("a")
    cheap = CostModel({"a": 0.1, "b": 0.4})
    cheap.measure("a", 10, 1, 2.0)
    cheap.measure("a", 10, 1, 2.0)
    cheap.measure("b", 10, 1, 1.0)
    assert cheap.seconds("b") == pytest.approx(0.1)


def test_slow_is_the_95th_percentile_and_quick_the_best() -> None:
    costs = CostModel({"a": 1.0})
    for value in [9.0, *[1.0] * 19, 3.0, 1.0, 1.0]:
        costs.measure("a", 1, 1, value)
    assert costs.slow_seconds("a") >= costs.seconds("a")
    assert costs.quick_share("a") == pytest.approx(1.0 / costs.seconds("a"))


def test_a_spec_without_figures_waits_for_measurements() -> None:
    costs = CostModel({"a": 0.0, "b": 0.0})
    assert costs.seconds("a") == 0.0
    costs.measure("a", 10, 1, 5.0)
    assert costs.seconds("a") == 0.5 and costs.seconds("b") == 0.0 and costs.factor == 1.0
    costs.measure("a", 10, 1, 5.0)
    costs.measure("b", 10, 1, 7.0)
    assert costs.seconds("b") == pytest.approx(0.7)


def test_loading_and_finishing_are_measured_too() -> None:
    costs = CostModel({"a": 1.0})
    for seconds in (20.0, 4.0, 4.0):
        costs.measure_load(seconds)
        costs.measure_finish(seconds / 2)
    assert costs.load_seconds() == 4.0 and costs.finish_seconds() == 2.0
