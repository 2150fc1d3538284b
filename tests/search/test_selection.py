"""Solvers, shares and the honest score."""

import numpy as np
import pytest

from foldpack.errors import DataError, FoldpackError
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import LabelRule, fit_decision, score_cells
from foldpack.search.weights.selection import choose, merged_folds, uniform_first
from foldpack.search.weights.solvers import Blend, Solver, default_solvers, fit_blend, in_space

RNG = np.random.default_rng(51)
N = 400
FOLDS = np.arange(N) % 4
LABELS = RNG.random((N, 8)) < 0.2
# Members of different temperature and offset: their mean probability is not what a logit blend makes of them.
MULTILABEL = np.array([1 / (1 + np.exp(-(t * (2 * LABELS - 1 + RNG.normal(0, 1, LABELS.shape)) + b)))
                       for t, b in ((0.3, 1), (1, -1), (4, -3), (0.1, 3))])
CLASSES = RNG.integers(0, 5, N)
SCORES = np.array([RNG.normal(size=(N, 5)) + s * np.eye(5)[CLASSES] for s in (0.3, 1.0, 1.4)])
MULTICLASS = np.exp(SCORES) / np.exp(SCORES).sum(axis=2, keepdims=True)
BINARY = CLASSES > 2
VALUES = RNG.normal(size=N)
GUESSES = np.array([0.5 * VALUES + 1 + RNG.normal(0, s, N) for s in (1, 1, 2)])
GRADES = np.clip(np.round(VALUES + 2), 0, 4)

CASES = {
    "f2": (MULTILABEL, LABELS), "f1_micro": (MULTILABEL, LABELS), "f1_macro": (MULTILABEL, LABELS),
    "accuracy": (MULTICLASS, CLASSES), "log_loss": (MULTICLASS, CLASSES), "map5": (MULTICLASS, CLASSES),
    "auc": (MULTICLASS[:, :, 1], BINARY), "average_precision": (MULTILABEL, LABELS),
    "rmse": (GUESSES, VALUES), "mae": (GUESSES, VALUES), "qwk": (GUESSES, GRADES),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_metric_finds_a_blend_not_below_uniform_in_its_nested_score(name):
    predictions, y = CASES[name]
    cells, metric = dense_cells(predictions, y), get_metric(name)
    solvers = default_solvers(cells, metric)
    choice, whole = choose(cells, solvers, metric, FOLDS)
    sign = 1 if metric.greater_is_better else -1
    assert sign * choice.mean >= sign * choice.uniform - 2 * choice.se
    assert len(choice.by_candidate) == 1 + 2 * len(solvers)
    for solver, blend in zip(solvers, whole, strict=True):
        assert blend.weights.sum() == pytest.approx(1)
        assert blend.gap is None or blend.gap < 1e-6
        assert solver.method != "certified" or blend.weights.min() >= 0


@pytest.mark.parametrize("space", ["probability", "logit", "geometric", "rank", "power"])
def test_each_space_can_be_asked_for_and_scored(space):
    cells, metric = dense_cells(MULTILABEL, LABELS), get_metric("average_precision")
    for solver in default_solvers(cells, metric, [space]):
        assert solver.space == space
        there = in_space(cells, solver)
        fitted = fit_blend(there, solver, metric, LabelRule())
        equal = Blend(solver, np.full(4, 0.25))
        scores = [fit_decision(there, blend.of(there), metric, LabelRule())[1] for blend in (fitted, equal)]
        assert scores[0] >= scores[1] - (0.01 if solver.method == "greedy" else 0.1)  # the loss is not the metric


def test_a_space_that_does_not_fit_is_named():
    cells = dense_cells(GUESSES, VALUES)
    with pytest.raises(FoldpackError, match="blend space 'logit' does not fit values: .*Allowed: linear"):
        default_solvers(cells, get_metric("rmse"), ["logit"])


def test_members_of_different_temperature_are_blended_in_logit_space():
    cells, metric = dense_cells(MULTILABEL, LABELS), get_metric("f2")
    solvers = default_solvers(cells, metric)
    choice, _ = choose(cells, solvers, metric, FOLDS)
    assert solvers[choice.chosen.solver].space == "logit"
    assert choice.mean > choice.uniform


def test_free_and_signed_weights_undo_a_common_scale_and_offset():
    cells, metric = dense_cells(GUESSES, VALUES), get_metric("rmse")
    fits = {method: fit_blend(cells, Solver("linear", method), metric, LabelRule())
            for method in ("certified", "free", "negative")}
    scores = {method: metric(VALUES, blend.of(cells)) for method, blend in fits.items()}
    assert scores["free"] < scores["certified"] - 0.1
    assert scores["negative"] <= scores["free"] + 1e-4
    assert fits["free"].gap < 1e-8
    assert scores["free"] ** 2 == pytest.approx(fits["free"].loss, abs=1e-5)


def test_noise_gives_chance_in_the_nested_score():
    means = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        cells = dense_cells(rng.random((20, 300)), rng.random(300) < 0.5)
        solvers = [Solver("probability", "certified"), Solver("logit", "certified")]
        means.append(choose(cells, solvers, get_metric("auc"), np.arange(300) % 5)[0].mean)
    assert abs(np.mean(means) - 0.5) < 0.035


def test_uniform_is_left_only_for_a_paired_gain_above_one_standard_error():
    sure = np.array([[0.5, 0.52, 0.6], [0.6, 0.62, 0.5], [0.4, 0.42, 0.7], [0.5, 0.52, 0.3]])
    assert uniform_first(sure) == 1  # the third gains more, by luck of two folds
    assert uniform_first(sure[:, [0, 2]]) == 0
    assert uniform_first(np.zeros((4, 3))) == 0
    assert uniform_first(sure[:1]) == 0


def test_many_folds_are_joined_to_five_and_one_is_refused():
    assert np.bincount(merged_folds(np.arange(100) % 10)).tolist() == [20] * 5
    assert merged_folds(np.array([7, 7, 9])).tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="at least two folds, got 1"):
        merged_folds(np.zeros(5))


def test_two_folds_are_enough():
    cells, metric = dense_cells(MULTICLASS, CLASSES), get_metric("accuracy")
    choice, _ = choose(cells, default_solvers(cells, metric), metric, np.arange(N) % 2)
    assert choice.per_fold.shape == (2,) and 0.2 < choice.mean < 1


def test_class_thresholds_gain_and_are_the_best_for_each_class_of_a_macro_score():
    cells, metric = dense_cells(MULTILABEL, LABELS), get_metric("f1_macro")
    blend = MULTILABEL.mean(axis=0).astype(np.float32).reshape(-1)
    _, common = fit_decision(cells, blend, metric, LabelRule(min_labels=0))
    decision, by_class = fit_decision(cells, blend, metric, LabelRule(min_labels=0, per_class=True))
    assert by_class >= common
    table, one_class = cells.dense(blend), get_metric("f1_micro")
    brute = [max(one_class(LABELS[:, [c]], table[:, [c]] >= t) for t in table[:, c]) for c in range(8)]
    assert by_class == pytest.approx(np.mean(brute))
    assert len(decision.threshold) == 8


@pytest.mark.parametrize("name", ["f2", "f2_micro"])
def test_class_thresholds_never_lose_on_the_rows_of_the_fit(name):
    cells, metric = dense_cells(MULTILABEL, LABELS), get_metric(name)
    blend = MULTILABEL.mean(axis=0).astype(np.float32).reshape(-1)
    free = LabelRule(min_labels=0)
    one, common = fit_decision(cells, blend, metric, free)
    each, by_class = fit_decision(cells, blend, metric, LabelRule(min_labels=0, per_class=True))
    assert by_class >= common
    decided = cells.dense(blend) >= np.array(each.threshold, np.float32)
    assert by_class == pytest.approx(metric(LABELS, decided), abs=1e-9)
    assert score_cells(cells, blend, metric, one, free) == pytest.approx(common)
