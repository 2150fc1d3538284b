"""Weights of classes, the log-loss at its edges, weighted AUC, probabilistic F1: against scikit-learn or loops."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from foldpack.errors import FoldpackError
from foldpack.metrics.registry import get_metric

RNG = np.random.default_rng(11)
Y = RNG.integers(0, 4, 300)
P = RNG.dirichlet(np.ones(4), 300) * 0.6 + 0.4 * np.eye(4)[Y] * RNG.random((300, 1))
P /= P.sum(axis=1, keepdims=True)
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0])
LABELS = RNG.random((200, 4)) < 0.3
SCORES = np.clip(RNG.random((200, 4)) * 0.7 + 0.3 * LABELS, 0.01, 0.99)
BINARY = LABELS[:, 0]


def weighted(name):
    return get_metric(f"{name}:1,2,0.5,3")


def test_items_weigh_what_their_true_class_does_as_with_sample_weight():
    each = WEIGHTS[Y]
    assert weighted("log_loss")(Y, P) == pytest.approx(sk.log_loss(Y, P, sample_weight=each))
    assert weighted("accuracy")(Y, P) == pytest.approx(sk.accuracy_score(Y, P.argmax(1), sample_weight=each))


def test_columns_weigh_in_the_mean_over_classes():
    by_class = sk.f1_score(Y, P.argmax(1), average=None)
    assert weighted("macro_f1")(Y, P) == pytest.approx(np.average(by_class, weights=WEIGHTS))
    by_class = sk.roc_auc_score(LABELS, SCORES, average=None)
    assert weighted("auc")(LABELS, SCORES) == pytest.approx(np.average(by_class, weights=WEIGHTS))
    by_class = sk.average_precision_score(LABELS, SCORES, average=None)
    assert weighted("average_precision")(LABELS, SCORES) == pytest.approx(np.average(by_class, weights=WEIGHTS))
    by_class = [sk.log_loss(LABELS[:, c], SCORES[:, c]) for c in range(4)]
    assert weighted("log_loss")(LABELS, SCORES) == pytest.approx(np.average(by_class, weights=WEIGHTS))


def test_equal_weights_change_nothing():
    for name in ("log_loss", "accuracy", "macro_f1", "auc"):
        assert get_metric(f"{name}:2,2,2,2")(Y, P) == pytest.approx(get_metric(name)(Y, P))


def test_a_class_without_a_score_takes_its_weight_along():
    few = Y % 3  # class 3, of weight 3, never occurs
    by_class = [sk.roc_auc_score(few == c, P[:, c]) for c in range(3)]
    assert weighted("auc")(few, P) == pytest.approx(np.average(by_class, weights=WEIGHTS[:3]))


@pytest.mark.parametrize(("y", "p", "message"), [
    (Y, np.hstack([P, P]), r"4 weights of classes, but there are 8 classes; give one a class, in their order"),
    (BINARY, SCORES[:, 0], r"4 weights of classes, but of two classes one score is taken, that of the second"),
])
def test_weights_that_do_not_fit_are_refused(y, p, message):
    with pytest.raises(FoldpackError, match=message):
        weighted("auc")(y, p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_clips_as_scikit_learn(dtype):
    sure = np.array([[1, 0], [1, 0], [0.5, 0.5]], dtype=dtype)
    y = np.array([0, 1, 1])
    assert get_metric("log_loss")(y, sure) == pytest.approx(sk.log_loss(y, sure), rel=1e-6)
    assert get_metric("log_loss")(y == 1, sure[:, 1]) == pytest.approx(sk.log_loss(y, sure[:, 1]), rel=1e-6)


def test_log_loss_divides_rows_by_their_sum():
    sums = RNG.uniform(0.2, 5, (300, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_metric("log_loss")(Y, P * sums) == pytest.approx(sk.log_loss(Y, P))
        nothing = np.vstack([P[:1], np.zeros((1, 4))])
        assert np.isfinite(get_metric("log_loss")(Y[:2], nothing))


def banded(y, p):
    """The definition, by many horizontal lines: each adds the part of the axis to the right of the curve."""
    false, true, _ = sk.roc_curve(y, p, drop_intermediate=False)
    total = 0.0
    for low, high, weight in ((0, 0.4, 2), (0.4, 1, 1)):
        levels = low + (np.arange(4000) + 0.5) / 4000 * (high - low)
        total += weight * (high - low) * np.mean([1 - np.interp(level, true, false) for level in levels])
    return total / 1.4


def test_weighted_auc_is_the_area_in_two_bands():
    p = np.round(0.3 * BINARY + RNG.random(200), 2)
    strict = np.argsort(np.argsort(p + 1e-6 * RNG.random(200)))  # a curve without ties: np.interp needs one value
    assert get_metric("weighted_auc")(BINARY, strict.astype(float)) == pytest.approx(banded(BINARY, strict), abs=2e-3)
    half = get_metric("weighted_auc")(BINARY, np.full(200, 0.5))
    assert half == pytest.approx((2 * (0.08 + 0.4 * 0.6) + 0.18) / 1.4)  # of the diagonal
    assert get_metric("weighted_auc")(BINARY, BINARY.astype(float)) == pytest.approx(1.0)
    assert get_metric("weighted_auc")(BINARY, 1.0 - BINARY) == pytest.approx(0.0)
    assert np.isnan(get_metric("weighted_auc")(np.ones(3, bool), np.arange(3.0)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_weighted_auc_of_two_columns_is_that_of_the_second(seed):
    rng = np.random.default_rng(seed)
    y, p = np.append([0, 1], rng.integers(0, 2, 20)), rng.integers(0, 6, 22) / 5
    table = np.stack((1 - p, p), axis=1)
    assert get_metric("weighted_auc")(y, table) == get_metric("weighted_auc")(y, p)
    assert 0 <= get_metric("weighted_auc")(y, p) <= 1
    assert get_metric("pf1")(y, table) == get_metric("pf1")(y, p)


def test_probabilistic_f1_is_the_organisers_rule():
    for p in (SCORES[:, 0], BINARY.astype(float), 2 * SCORES[:, 0] - 0.5):
        cut = np.clip(p, 0, 1)
        hits, false = cut[BINARY].sum(), cut[~BINARY].sum()
        precision, recall = hits / (hits + false), hits / BINARY.sum()
        assert get_metric("pf1")(BINARY, p) == pytest.approx(2 * precision * recall / (precision + recall))
    assert get_metric("pf1")(BINARY, np.zeros(200)) == 0.0
    assert get_metric("pf1")(BINARY, BINARY) == sk.f1_score(BINARY, BINARY) == 1.0
    with pytest.raises(FoldpackError, match=r"shape \(300, 4\); this metric is of two classes"):
        get_metric("pf1")(Y, P)
