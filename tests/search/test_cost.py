"""Hours, the front of loss against hours, and the plan."""

from itertools import combinations

import numpy as np
import pytest

from foldpack.errors import FoldpackError
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import LabelRule
from foldpack.search.hours.cost import Machine, MemberCost, member_hours, parse_hours
from foldpack.search.hours.pareto import best_within, pareto_front
from foldpack.search.hours.plan import member_order, plan_units, prefix_sets
from foldpack.search.weights.local_model import local_model
from foldpack.search.weights.solvers import Solver, fit_blend, in_space


def squared_error_model(seed, members, rows=400):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=rows)
    shared = rng.normal(size=(3, rows))
    guesses = np.array([y + rng.normal(size=3) @ shared * 0.4 + rng.normal(0, rng.uniform(0.5, 2), rows)
                        for _ in range(members)])
    cells = dense_cells(guesses, y)
    blend = fit_blend(cells, Solver("linear", "certified"), get_metric("rmse"), LabelRule())
    return cells, blend, local_model(cells, blend), rng.uniform(0.2, 2, members)


def true_loss(cells, members):
    part = cells.take_members(list(members))
    return fit_blend(part, Solver("linear", "certified"), get_metric("rmse"), LabelRule()).loss


@pytest.mark.parametrize("count", [6, 13])
def test_the_front_equals_enumeration(count):
    cells, blend, model, hours = squared_error_model(1, count)
    sets = [s for k in range(1, count + 1) for s in combinations(range(count), k)]
    points = sorted((hours[list(s)].sum(), true_loss(cells, s)) for s in sets)
    front = pareto_front(model, hours)
    for limit in np.linspace(hours.min(), hours.sum(), 25):
        best = min(loss for cost, loss in points if cost <= limit + 1e-9)
        assert blend.loss + best_within(front, limit + 1e-9).loss == pytest.approx(best, abs=1e-7)


def test_grown_and_swapped_sets_are_close_to_the_exact_front():
    worse = []
    for seed in range(6):
        _, _, model, hours = squared_error_model(seed, 10)
        exact, grown = pareto_front(model, hours), pareto_front(model, hours, exact_members=0)
        for share in (0.25, 0.5):
            limit = share * hours.sum()
            best, found = best_within(exact, limit), best_within(grown, limit)
            assert found.loss >= best.loss - 1e-9
            worse.append((found.loss - best.loss) / max(exact[0].loss - best.loss, 1e-9))
    assert np.mean(worse) < 0.05


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_the_front_of_a_log_loss_falls_with_hours(space):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 800)
    scores = np.array([rng.normal(size=(800, 4)) + s * np.eye(4)[y] for s in (0.5, 1, 1.2, 1.5)])
    solver = Solver(space, "certified")
    cells = in_space(dense_cells(np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True), y), solver)
    blend = fit_blend(cells, solver, get_metric("log_loss"), LabelRule())
    front = pareto_front(local_model(cells, blend), np.array([1.0, 1, 1, 1]))
    assert [len(point.members) for point in front] == list(range(1, len(front) + 1))
    assert front[0].members == (3,)
    assert front[-1].loss == pytest.approx(0, abs=1e-6)
    assert best_within(front, 0.5) is None


def test_the_plan_begins_with_one_fold_of_each_member():
    cells, blend, model, hours = squared_error_model(2, 5)
    weights = np.where(blend.weights > 1e-6, blend.weights, 0)
    units = plan_units(model, weights, hours, np.array([3, 3, 1, 2, 3]))
    used = np.flatnonzero(weights)
    assert sorted(unit.member for unit in units[: len(used)]) == used.tolist()
    assert all(unit.fold == 0 for unit in units[: len(used)])
    assert len({(unit.member, unit.fold) for unit in units}) == sum([3, 3, 1, 2, 3][m] for m in used)
    assert units[-1].hours == pytest.approx(sum(hours[u.member] for u in units))
    for member in used:  # the folds of a member come in their order
        folds = [unit.fold for unit in units if unit.member == member]
        assert folds == sorted(folds)
    assert prefix_sets(units)[-1] == [unit.member for unit in units[: len(used)]]


def test_a_member_twice_as_dear_and_no_better_comes_later():
    _, _, model, _ = squared_error_model(4, 3)
    by_gain = member_order(model, np.ones(3), np.ones(3))
    dear = np.ones(3)
    dear[by_gain[0]] = 50.0
    assert member_order(model, np.ones(3), dear)[0] != by_gain[0]


def test_hours_count_images_folds_views_and_loading():
    machine = Machine(images=36_000, device_factor=2.0)
    assert member_hours(MemberCost(0.01, 5, 2, 36.0), machine) == pytest.approx((0.01 * 2 * 36_000 * 2 + 36) / 3600 * 5)
    assert member_hours(MemberCost(0.01, 5, 2, 36.0), Machine(36_000, 2.0, devices=2)) == pytest.approx(1.025)


@pytest.mark.parametrize(("text", "hours"), [("9h", 9), ("8h40m", 8 + 40 / 60), ("540m", 9), ("9", 9), ("1.5h", 1.5)])
def test_time_limits_are_read(text, hours):
    assert parse_hours(text) == pytest.approx(hours)


@pytest.mark.parametrize("text", ["", "soon", "9x", "-3h"])
def test_time_limits_that_are_not_are_refused(text):
    with pytest.raises(FoldpackError, match="write it as 9h, 8h40m or 540m"):
        parse_hours(text)
