"""The quadratic model is the loss near its optimum; the bootstrap knows a duplicate when it sees one."""

import numpy as np
import pytest

from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import LabelRule
from foldpack.search.weights.local_model import item_blocks, local_model
from foldpack.search.weights.solvers import Solver, fit_blend, in_space
from foldpack.search.weights.uncertainty import bootstrap

RNG = np.random.default_rng(61)
VALUES = RNG.normal(size=1500)
GUESSES = np.array([VALUES + RNG.normal(0, s, 1500) for s in (1, 1.2, 2, 6)])
CLASSES = RNG.integers(0, 4, 1500)
SCORES = np.array([RNG.normal(size=(1500, 4)) + s * np.eye(4)[CLASSES] for s in (0.8, 1.0, 1.4)])
MULTICLASS = np.exp(SCORES) / np.exp(SCORES).sum(axis=2, keepdims=True)


def fitted(predictions, targets, solver, groups=None):
    cells = in_space(dense_cells(predictions, targets, groups), solver)
    blend = fit_blend(cells, solver, get_metric("log_loss" if cells.kind != "values" else "rmse"), LabelRule())
    return cells, blend, local_model(cells, blend)


@pytest.mark.parametrize(("predictions", "targets", "solver"), [
    (GUESSES, VALUES, Solver("linear", "certified")), (GUESSES, VALUES, Solver("linear", "free")),
    (MULTICLASS, CLASSES, Solver("probability", "certified")), (MULTICLASS, CLASSES, Solver("logit", "certified")),
    (MULTICLASS, np.eye(4, dtype=bool)[CLASSES], Solver("probability", "certified")),
    (MULTICLASS, np.eye(4, dtype=bool)[CLASSES], Solver("logit", "certified")),
])
def test_leaving_a_member_out_costs_about_what_a_full_refit_says(predictions, targets, solver):
    cells, blend, model = fitted(predictions, targets, solver)
    assert model.solve(np.ones(len(predictions), dtype=bool), *model.system()) == pytest.approx(model.center, abs=1e-3)
    kept = np.arange(len(predictions)) != 1
    refit = fit_blend(cells.take_members(kept), solver, get_metric("log_loss"), LabelRule())
    rise = refit.loss - blend.loss
    assert rise > 0
    assert model.loss_of(kept) == pytest.approx(rise, rel=1e-6 if cells.kind == "values" else 0.35)


def test_the_worth_of_a_duplicate_covers_zero_and_of_a_good_member_does_not():
    twice = np.concatenate([GUESSES, GUESSES[:1]])
    found = bootstrap(fitted(twice, VALUES, Solver("linear", "certified"))[2])
    assert found.worth_low[0] <= 1e-9 and found.worth_low[4] <= 1e-9
    assert found.worth_low[1] > 1e-3
    assert (found.weight_low <= found.weight_high).all()
    assert found.inclusion[1] == 1.0


def test_intervals_cover_the_weights_of_new_rows():
    found = bootstrap(fitted(GUESSES, VALUES, Solver("linear", "certified"))[2])
    fresh = np.random.default_rng(5).normal(size=200_000)
    many = np.array([fresh + np.random.default_rng(i).normal(0, s, len(fresh)) for i, s in enumerate((1, 1.2, 2, 6))])
    true = fit_blend(dense_cells(many, fresh), Solver("linear", "certified"), get_metric("rmse"), LabelRule()).weights
    inside = (true >= found.weight_low - 0.02) & (true <= found.weight_high + 0.02)
    assert inside.all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_intervals_are_of_the_shrunk_weights(share):
    _, blend, model = fitted(GUESSES, VALUES, Solver("linear", "certified"))
    found, printed = bootstrap(model, share=share), blend.shrunk(share).weights
    assert ((found.weight_low <= printed + 1e-3) & (printed <= found.weight_high + 1e-3)).all()
    assert found.weight_high - found.weight_low == pytest.approx(
        share * (bootstrap(model).weight_high - bootstrap(model).weight_low))
    assert (found.inclusion == bootstrap(model).inclusion).all()


def test_the_bootstrap_is_the_same_every_time():
    model = fitted(GUESSES, VALUES, Solver("linear", "certified"))[2]
    assert (bootstrap(model).weight_low == bootstrap(model).weight_low).all()


def test_blocks_keep_groups_whole():
    groups = np.repeat(np.arange(300), 5)
    blocks = item_blocks(dense_cells(GUESSES, VALUES, groups))
    assert all(len(np.unique(blocks[groups == g])) == 1 for g in range(300))
    assert len(np.unique(blocks)) == 64
