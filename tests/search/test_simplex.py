"""Every certified solver meets its own certificate and an independent optimiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from foldpack.metrics.classification import log_loss, true_class_probs
from foldpack.search.weights.simplex import fit_log_loss, fit_squared_error, simplex_qp


def slsqp(function, size):
    bounds, total = [(0, 1)] * size, {"type": "eq", "fun": lambda w: w.sum() - 1}
    return minimize(function, np.full(size, 1 / size), method="SLSQP", bounds=bounds, constraints=[total],
                    options={"ftol": 1e-12, "maxiter": 500})


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 12), rank=st.integers(1, 14))
def test_the_quadratic_program_is_solved_to_its_certificate(seed, size, rank):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(rank, size))
    gram, linear = factor.T @ factor, rng.normal(size=size)
    found = simplex_qp(gram, linear)
    assert found.weights.min() >= 0 and found.weights.sum() == pytest.approx(1)
    assert found.gap <= 1e-8
    other = slsqp(lambda w: 0.5 * w @ gram @ w - linear @ w, size)
    assert found.value <= other.fun + 1e-7


def test_log_loss_weights_beat_slsqp_on_all_classes():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 8, 1500)
    logits = np.array([rng.normal(size=(1500, 8)) + s * np.eye(8)[y] for s in (0.5, 1.0, 1.5, 1.2, 0.1)])
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    found = fit_log_loss(np.array([true_class_probs(y, p) for p in probs]))
    other = slsqp(lambda w: log_loss(y, np.tensordot(np.abs(w) / np.abs(w).sum(), probs, 1)), 5)
    assert found.gap <= 1e-9
    assert found.value == pytest.approx(log_loss(y, np.tensordot(found.weights, probs, 1)), abs=1e-12)
    assert found.value <= other.fun + 1e-9


def test_log_loss_weights_are_certified_on_multilabel_cells():
    rng = np.random.default_rng(2)
    y = rng.random((400, 20)) < 0.1
    probs = np.array([np.clip(0.1 + s * (y - 0.1) + rng.normal(0, 0.05, y.shape), 0, 1) for s in (0.2, 0.5, 0.4)])
    cells = np.array([true_class_probs(y, p).ravel() for p in probs])
    plain = fit_log_loss(cells)
    by_truth = fit_log_loss(probs.reshape(3, -1), y.ravel(), start=np.array([1.0, 0.0, 0.0]))
    assert plain.gap <= 1e-9
    assert by_truth.weights == pytest.approx(plain.weights, abs=1e-6)


def test_a_member_that_is_always_wrong_gets_no_weight():
    right = np.full(100, 0.8)
    assert fit_log_loss(np.array([np.zeros(100), right])).weights == pytest.approx([0, 1])


def test_squared_error_weights_equal_slsqp():
    rng = np.random.default_rng(4)
    y = rng.normal(size=3000)
    values = np.array([y + rng.normal(0, s, 3000) for s in (1, 1, 2, 3)]).astype(np.float32)
    found = fit_squared_error(values, y)
    other = slsqp(lambda w: np.mean((w @ values - y) ** 2), 4)
    assert found.gap <= 1e-9
    assert 2 * found.value + np.mean(y**2) <= other.fun + 1e-8


def test_equal_members_share_their_weight():
    rng = np.random.default_rng(5)
    y = rng.normal(size=500)
    one, other = y + rng.normal(size=500), y + rng.normal(size=500)
    weights = fit_squared_error(np.array([one, one, other]), y).weights
    assert weights[0] == pytest.approx(weights[1], abs=1e-3)
