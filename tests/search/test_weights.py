"""Fitted weights are never below uniform on the rows of the fit, and the nested score is honest."""

import numpy as np
import pytest

from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search.greedy import greedy_weights
from foldpack.search.nested import cross_validated_score
from foldpack.search.weights import fit_weights, gain

RNG = np.random.default_rng(11)
LABELS = RNG.random((300, 12)) < 0.15
MULTILABEL = np.array([np.clip(0.15 + s * (LABELS - 0.15) + RNG.normal(0, 0.2, LABELS.shape), 0, 1)
                       for s in (0.1, 0.3, 0.35, 0.0)]).astype(np.float32)  # fmt: skip
CLASSES = RNG.integers(0, 5, 300)
LOGITS = np.array([RNG.normal(size=(300, 5)) + s * np.eye(5)[CLASSES] for s in (0.3, 1.0, 1.4)])
MULTICLASS = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("probs", "y", "metric"), [
    (MULTILABEL, LABELS, "f2"), (MULTILABEL, LABELS, "f1_micro"), (MULTILABEL, LABELS, "log_loss"),
    (MULTICLASS, CLASSES, "accuracy"), (MULTICLASS, CLASSES, "log_loss"), (MULTICLASS, CLASSES, "macro_f1"),
    (MULTICLASS[..., 0], CLASSES.astype(float), "rmse"), (MULTICLASS[..., 0], CLASSES.astype(float), "mae"),
])  # fmt: skip
def test_fitted_weights_are_a_blend_not_below_uniform(probs, y, metric):
    weights = fit_weights(probs, y, metric)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    fitted = gain(np.tensordot(weights, probs, 1), y, get_metric(metric))
    assert fitted >= gain(probs.mean(axis=0), y, get_metric(metric)) - 1e-7
    assert (weights == fit_weights(probs, y, metric)).all()


def test_greedy_takes_the_one_perfect_member():
    truth = RNG.normal(size=50)
    members = np.array([truth + 1, truth, truth - 2])
    assert greedy_weights(members, lambda blend: -float(np.abs(blend - truth).mean())).tolist() == [0, 1, 0]


def test_the_nested_score_of_noise_is_chance():
    y = RNG.random(600) < 0.5
    noise = RNG.random((30, 600)).astype(np.float32)
    nested = cross_validated_score(noise, y, "auc", np.arange(600) % 5)
    assert abs(nested.mean - 0.5) < 0.06
    assert gain(np.tensordot(fit_weights(noise, y, "auc"), noise, 1), y, get_metric("auc")) > 0.58


def test_the_nested_score_reports_the_spread_and_uniform():
    nested = cross_validated_score(MULTILABEL, LABELS, "f2", np.arange(300) % 3)
    assert nested.per_fold.shape == (3,)
    assert 0 < nested.se < 0.1
    assert nested.mean > nested.uniform - 0.02


def test_one_fold_has_no_nested_score():
    with pytest.raises(DataError, match="at least two folds, got 1"):
        cross_validated_score(MULTICLASS, CLASSES, "accuracy", np.zeros(300, int))
