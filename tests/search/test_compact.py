"""The compact store gives the same blend and score as all cells, in bounded memory."""


import numpy as np
import pytest

from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.cells.compact import compact_cells
from foldpack.search.decide.decision import LabelRule, fit_decision
from foldpack.search.find import SearchOptions, find_ensemble
from foldpack.search.weights.solvers import Solver, fit_blend, in_space

RNG = np.random.default_rng(101)
N, C = 1500, 60
LABELS = RNG.random((N, C)) < 0.04
PROBS = np.array([1 / (1 + np.exp(-(3.5 * LABELS - 4 + RNG.normal(0, s, (N, C))))) for s in (1, 1.1, 1.3)])
PROBS = PROBS.astype(np.float32)
CLASSES = RNG.integers(0, C, N)
SCORES = np.array([RNG.normal(size=(N, C)) + 3 * np.eye(C)[CLASSES] for _ in range(3)])
SOFT = (np.exp(SCORES) / np.exp(SCORES).sum(axis=2, keepdims=True)).astype(np.float32)


def streams(probs):
    return [lambda a, b, member=member: member[a:b] for member in probs]


def test_a_store_that_fits_keeps_every_cell():
    cells = compact_cells(streams(PROBS), LABELS, C)
    assert cells.full and cells.values.shape == (3, N * C)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_a_small_store_gives_the_same_f2_and_threshold_for_a_blend(space):
    solver, f2 = Solver(space, "certified"), get_metric("f2")
    small, whole = compact_cells(streams(PROBS), LABELS, C, store_bytes=400_000), dense_cells(PROBS, LABELS)
    assert not small.full and small.values.nbytes <= 400_000 and small.floor > 0
    there, all_there = in_space(small, solver), in_space(whole, solver)
    blend = fit_blend(there, solver, f2, LabelRule())
    decision, score = fit_decision(there, blend.of(there), f2, LabelRule())
    decision_all, score_all = fit_decision(all_there, blend.of(all_there), f2, LabelRule())
    hidden = there.dense(blend.of(there)) == 0
    assert all_there.dense(blend.of(all_there))[hidden].max() < decision.threshold
    assert score == pytest.approx(score_all, abs=1e-12)
    assert decision.threshold == pytest.approx(decision_all.threshold, abs=1e-3)
    fitted_on_all = fit_blend(all_there, solver, f2, LabelRule())
    best = fit_decision(all_there, fitted_on_all.of(all_there), f2, LabelRule())[1]
    assert score > best - 0.01


def test_a_store_that_is_too_small_gives_a_real_score_at_a_threshold_above_its_floor():
    """All true cells are kept, but those below the floor must not be selected: the false ones beside them are gone."""
    f2, solver = get_metric("f2"), Solver("probability", "certified")
    small, whole = compact_cells(streams(PROBS), LABELS, C, store_bytes=60_000), dense_cells(PROBS, LABELS)
    blend = fit_blend(small, solver, f2, LabelRule(min_labels=0))
    decision, score = fit_decision(small, blend.of(small), f2, LabelRule(min_labels=0))
    decided = whole.dense(blend.of(whole)) >= decision.threshold
    assert score == pytest.approx(f2(LABELS, decided), abs=1e-9)
    assert decision.threshold > small.floor


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_a_small_store_gives_the_same_scores_of_classes(name):
    metric, solver = get_metric(name), Solver("probability", "certified")
    small, whole = compact_cells(streams(SOFT), CLASSES, C, store_bytes=150_000), dense_cells(SOFT, CLASSES)
    assert not small.full
    blends = [fit_blend(cells, solver, metric, LabelRule()) for cells in (small, whole)]
    assert blends[0].weights == pytest.approx(blends[1].weights, abs=1e-9)
    scores = [fit_decision(cells, blends[0].of(cells), metric, LabelRule())[1] for cells in (small, whole)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


@pytest.mark.parametrize("targets", [LABELS, CLASSES], ids=["labels", "classes"])
def test_members_that_agree_on_nothing_do_not_burst_the_store(targets):
    """Twelve members of pure noise have about 30 best classes an item: the store keeps their mean's."""
    noise = np.random.default_rng(3).random((12, N, C), dtype=np.float32)
    small = compact_cells(streams(noise), targets, C, store_bytes=12 * 4 * N * 20)
    assert not small.each_best and small.values.nbytes <= 12 * 4 * N * 20
    best = noise.mean(axis=0).argmax(axis=1)
    kept = np.zeros((N, C), dtype=bool)
    kept[small.row, small.column] = True
    assert kept[np.arange(N), best].all()
    assert noise.max(axis=0)[~kept].max() <= small.floor
    assert compact_cells(streams(PROBS), LABELS, C, store_bytes=320_000).each_best


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "f2"])
def test_few_classes_score_as_all_cells_do_however_small_the_store(classes, metric):
    rng = np.random.default_rng(classes)
    targets = rng.random((N, classes)) < 0.2 if metric == "f2" else rng.integers(0, classes, N)
    truth = targets if metric == "f2" else np.eye(classes)[targets]
    logits = 3 * truth - 2 + rng.normal(0, 1, (4, N, classes))
    probs = 1 / (1 + np.exp(-logits))
    probs = (probs if metric == "f2" else probs / probs.sum(axis=2, keepdims=True)).astype(np.float32)
    small = compact_cells(streams(probs), targets, classes, store_bytes=int(0.9 * 16 * N * classes))
    assert small.full == (classes <= 5)
    if classes == 1 and metric != "f2":
        return  # one class is no choice
    found = [find_ensemble(cells, get_metric(metric), np.arange(N) % 3, SearchOptions(spaces=["probability"]))
             for cells in (small, dense_cells(probs, targets))]
    assert found[0].score == pytest.approx(found[1].score, abs=0.02 if classes > 5 else 1e-12)


def test_equal_weights_and_single_members_are_scored_honestly_in_a_small_store():
    """Below the floor all true cells are known and few false ones: a threshold there would score nearly 1."""
    small, f2 = compact_cells(streams(PROBS), LABELS, C, store_bytes=60_000), get_metric("f2")
    found = find_ensemble(small, f2, np.arange(N) % 3, SearchOptions(spaces=["probability"]))
    whole = find_ensemble(dense_cells(PROBS, LABELS), f2, np.arange(N) % 3, SearchOptions(spaces=["probability"]))
    assert (found.single_scores <= whole.single_scores + 1e-9).all()
    assert found.uniform_score <= whole.uniform_score + 1e-9
