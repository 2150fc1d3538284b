"""Level 2: the table, the fit, the proof that it helps, and the leak that is not believed."""

import numpy as np
import pytest

from foldpack.ensemble.candidates import CandidateTable, candidate_columns, candidate_table
from foldpack.ensemble.level2 import level2_probs
from foldpack.ensemble.thresholds import top_classes
from foldpack.errors import DataError, FoldpackError
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.level2.fit import (
    Level2Options,
    candidate_truth,
    class_prior,
    fit_level2,
    presence_leaks,
)

SMALL = {"lightgbm": {"num_leaves": 7, "learning_rate": 0.2}, "xgboost": {"max_depth": 3, "eta": 0.3}}
FAST = Level2Options(settings=SMALL)


def rows_of(probs):
    return lambda first, end: probs[..., first:end, :]


def fit(probs, blend, targets, folds, metric, options=FAST, names=None, table=None):
    """Level 2 of (M, n, C) probabilities and their (n, C) blend."""
    table = table or candidate_table(probs, blend, class_prior(targets, probs.shape[2]), options.top)
    return fit_level2(table, dense_cells(blend[None], targets), folds, metric, None, options, names)


def dense(found):
    return found.cells.dense(found.cells.values[0])


def specialists(seed, items=900, classes=8):
    """Two members, each only good at half of the classes: a blend cannot know which to trust for an item."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, items)
    truth = y[:, None] == np.arange(classes)
    probs = []
    for half in (np.arange(classes) < classes // 2, np.arange(classes) >= classes // 2):
        scores = rng.normal(0, 1, truth.shape) + np.where(half, 2.5, 0.5) * truth
        scores[:, ~half] *= 1.5  # loud where it knows little
        probs.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    return np.array(probs, dtype=np.float32), y


def test_the_table_holds_the_union_of_the_members_best_and_the_reject_class():
    probs, _ = specialists(0, items=50)
    table = candidate_table(probs, probs.mean(axis=0), np.ones(8) / 8, top=2, reject=7)
    for item in range(50):
        expected = {7} | {int(c) for member in probs for c in np.argsort(-member[item])[:2]}
        assert set(table.label[table.item == item].tolist()) == expected
    names = candidate_columns(["a", "b"])
    assert table.features.shape == (len(table.item), len(names))
    row = np.flatnonzero((table.item == 3) & (table.label == top_classes(probs[1], 1)[3, 0]))[0]
    assert table.features[row, names.index("rank:b")] == 1
    assert table.features[row, names.index("gap:b")] == 0
    assert table.features[row, names.index("is_first")] >= 1
    assert table.features[row, names.index("candidates")] == np.count_nonzero(table.item == 3)


def test_equal_scores_come_in_column_order():
    table = np.random.default_rng(3).integers(0, 3, (200, 12)) / 3
    for count in (1, 3, 5, 12, 20):
        assert (top_classes(table, count) == np.argsort(-table, axis=1, kind="stable")[:, :count]).all()


def test_level_two_beats_the_blend_of_specialists_and_the_kernel_gives_the_same_numbers():
    probs, y = specialists(1)
    folds, accuracy = np.arange(len(y)) % 3, get_metric("accuracy")
    found = fit(probs, probs.mean(axis=0), y, folds, accuracy, names=["a", "b"])
    assert found.believed(accuracy) and found.mean > found.blend_per_fold.mean() + 0.02
    assert len(found.boosters) == 6 and sum(found.importance.values()) == pytest.approx(1)
    own = [(one.kind, one.text) for one in found.boosters if one.fold == 2]
    again = level2_probs(own, rows_of(probs), probs.mean(axis=0), class_prior(y, 8), FAST.top)
    assert again[folds == 2] == pytest.approx(dense(found)[folds == 2], abs=1e-6)
    assert accuracy(y[folds == 2], again[folds == 2]) == pytest.approx(found.per_fold[2])


def test_level_two_of_labels_gets_its_own_threshold():
    rng = np.random.default_rng(2)
    labels = rng.random((900, 8)) < 0.25
    good = np.array([np.arange(8) < 4, np.arange(8) >= 4])[:, None]
    scores = np.where(good, 3.0, 0.3) * (2 * labels - 1) + rng.normal(0, 1, (2, 900, 8)) * np.where(good, 1, 3)
    probs = (1 / (1 + np.exp(-scores))).astype(np.float32)
    found = fit(probs, probs.mean(axis=0), labels, np.arange(900) % 3, get_metric("f2"))
    assert 0 < found.decision.threshold < 1
    assert found.believed(get_metric("f2"))


def test_noise_falls_back_to_the_blend():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 6, 600)
    clear = 2.0 * (y[:, None] == np.arange(6)) + rng.normal(0, 1, (600, 6))
    probs = np.array([np.exp(clear) / np.exp(clear).sum(axis=1, keepdims=True)] * 2, dtype=np.float32)
    gain, error = (found := fit(probs, probs[0], y, np.arange(600) % 3, get_metric("accuracy"))).gain(
        get_metric("accuracy"))
    assert found.believed(get_metric("accuracy")) == (gain > error)
    assert gain < 0.02


def test_a_class_added_only_where_it_is_right_is_not_believed():
    probs, y = specialists(4)
    folds, accuracy = np.arange(len(y)) % 3, get_metric("accuracy")
    honest = candidate_table(probs, probs.mean(axis=0), class_prior(y, 8), 3)
    kept = (honest.label != 0) | (y[honest.item] == 0)  # class 0 stays a candidate only where it is the truth
    planted = CandidateTable(honest.item[kept], honest.label[kept], honest.features[kept])
    found = fit(probs, probs.mean(axis=0), y, folds, accuracy, table=planted)
    assert found.gain(accuracy)[0] > found.gain(accuracy)[1]  # the leak pays in every fold
    assert not found.believed(accuracy)
    assert any("class 0 is a candidate" in note and "level 2 is not believed" in note for note in found.notes)
    assert presence_leaks(honest, candidate_truth(honest, y), dense_cells(probs.mean(axis=0)[None], y)) == []


def test_two_folds_are_too_few_and_an_unknown_booster_is_named():
    probs, y = specialists(5, items=60)
    with pytest.raises(DataError, match="level 2 needs three folds or more .* got 2"):
        fit(probs, probs.mean(axis=0), y, np.arange(60) % 2, get_metric("accuracy"))
    with pytest.raises(FoldpackError, match="kind 'catboost' is not known"):
        level2_probs([("catboost", "")], rows_of(probs), probs.mean(axis=0), class_prior(y, 8), 3)


def test_several_seeds_and_a_reject_class():
    probs, y = specialists(7, items=300)
    found = fit(probs, probs.mean(axis=0), y, np.arange(300) % 3, get_metric("accuracy"),
                Level2Options(settings=SMALL, seeds=2, top=2))
    assert [(one.kind, one.seed) for one in found.boosters if one.fold == 1] == [
        ("lightgbm", 0), ("lightgbm", 1), ("xgboost", 0), ("xgboost", 1)]
    assert len({one.text for one in found.boosters if one.kind == "lightgbm"}) == 6
    with pytest.raises(DataError, match="--level2-reject 8: the classes are 0 to 7"):
        fit(probs, probs.mean(axis=0), y, np.arange(300) % 3, get_metric("accuracy"), Level2Options(reject=8))


def test_the_same_seed_gives_the_same_boosters():
    probs, y = specialists(6, items=200)
    texts = [[one.text for one in fit(probs, probs.mean(axis=0), y, np.arange(200) % 3,
                                      get_metric("accuracy")).boosters] for _ in range(2)]
    assert texts[0] == texts[1]
