"""Logit-space fits reach the optimum that an independent optimiser finds, and their certificate says so."""

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from foldpack.ensemble.spaces import to_blend_space
from foldpack.search.cells.cells import dense_cells
from foldpack.search.weights.logit import WARM_CELLS, fit_bce_logit, fit_softmax_logit, nonnegative_qp

RNG = np.random.default_rng(21)


def test_bce_weights_and_bias_equal_l_bfgs():
    y = RNG.random(4000) < 0.2
    values = np.array([s * (y - 0.5) + RNG.normal(0, 1.5, 4000) - 1 for s in (1, 2, 3, 0.0, -1)]).astype(np.float32)
    found = fit_bce_logit(values, y)

    def loss(x):
        return np.logaddexp(0, np.where(y, -1, 1) * (x[:5] @ values + x[5])).mean()

    other = minimize(loss, np.full(6, 0.1), method="L-BFGS-B", bounds=[(0, None)] * 5 + [(None, None)])
    assert found.gap <= 1e-8
    assert found.weights.min() >= 0 and found.weights[4] == 0
    assert found.value == pytest.approx(loss(np.append(found.weights, found.bias)), abs=1e-12)
    assert found.value <= other.fun + 1e-9


def test_softmax_weights_equal_l_bfgs_with_all_cells_and_with_some():
    y = RNG.integers(0, 6, 800)
    logits = np.array([RNG.normal(size=(800, 6)) * t + s * np.eye(6)[y] for s, t in ((1, 1), (2, 3), (0.2, 0.5))])
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    cells = dense_cells(to_blend_space(probs, "logit", exclusive=True), y)
    found = fit_softmax_logit(cells)

    def loss(x):
        z = np.tensordot(x, logits, 1)
        return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(800), y]).mean()

    other = minimize(loss, np.full(3, 0.1), method="L-BFGS-B", bounds=[(0, None)] * 3)
    assert found.gap <= 1e-8
    assert found.value <= other.fun + 1e-8
    assert found.weights == pytest.approx(other.x, abs=2e-3)


def test_a_big_fit_starts_warm_and_ends_at_the_same_optimum():
    n = 5 * WARM_CELLS
    y = RNG.random(n) < 0.1
    values = np.array([s * (y - 0.5) + RNG.normal(0, 1, n) - 2 for s in (1, 2)]).astype(np.float32)
    warm, cold = fit_bce_logit(values, y), fit_bce_logit(values, y, np.array([0.5, 0.5, 0.0]))
    assert warm.weights == pytest.approx(cold.weights, abs=1e-4)
    assert warm.bias == pytest.approx(cold.bias, abs=1e-4)


def test_the_non_negative_program_equals_scipy():
    for _ in range(30):
        factor, target = RNG.normal(size=(12, 6)), RNG.normal(size=12)
        found = nonnegative_qp(factor.T @ factor, factor.T @ target, np.zeros(6), np.ones(6, dtype=bool))
        assert found == pytest.approx(nnls(factor, target)[0], abs=1e-7)
