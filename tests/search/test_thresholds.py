"""The sweep equals trying every distinct score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from foldpack.ensemble.thresholds import cut_grades, decide
from foldpack.metrics.fbeta import fbeta_macro, fbeta_micro, fbeta_samples
from foldpack.search.decide.best_threshold import best_threshold

SCORE = {"samples": fbeta_samples, "micro": fbeta_micro, "macro": fbeta_macro}


def brute_force(probs, y, beta, low, high, average):
    """The best score over every distinct threshold, one below and one above them all."""
    tried = np.unique(np.concatenate([probs.ravel(), [probs.min() - 1, probs.max() + 1]]))
    return max(SCORE[average](y, decide(probs, float(t), low, high), beta) for t in tried)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 9)),
    beta=st.sampled_from([0.5, 1.0, 2.0]),
    average=st.sampled_from(["samples", "micro", "macro"]),
    low=st.integers(0, 2),
    high=st.sampled_from([None, 2, 4]),
    digits=st.sampled_from([1, 3]),
)
def test_the_sweep_equals_brute_force(seed, shape, beta, average, low, high, digits):
    rng = np.random.default_rng(seed)
    y = rng.random(shape) < 0.3
    probs = np.round(np.clip(rng.random(shape) * 0.6 + 0.4 * y * rng.random(shape), 0, 1), digits).astype(np.float32)
    threshold, score = best_threshold(probs, y, beta, low, high, average)
    assert score == pytest.approx(brute_force(probs, y, beta, low, high, average), abs=1e-9)
    assert SCORE[average](y, decide(probs, threshold, low, high), beta) == pytest.approx(score, abs=1e-9)


def test_a_big_sweep_equals_a_fine_grid_and_scikit_learn():
    rng = np.random.default_rng(3)
    y = rng.random((2000, 40)) < 0.05
    probs = (1 / (1 + np.exp(-(rng.normal(size=y.shape) + 2.5 * y - 3)))).astype(np.float32)
    threshold, score = best_threshold(probs, y)
    grid = [fbeta_samples(y, probs >= t, 2.0) for t in np.unique(np.quantile(probs, np.linspace(0.5, 1, 2000)))]
    assert max(grid) <= score + 1e-12
    assert fbeta_score(y, probs >= threshold, beta=2, average="samples", zero_division=0) == pytest.approx(score)


def test_decisions_keep_to_the_least_and_the_most_labels():
    probs = np.array([[0.9, 0.8, 0.7], [0.1, 0.05, 0.2]], dtype=np.float32)
    taken = decide(probs, 0.5, min_labels=1, max_labels=2)
    assert taken.tolist() == [[True, True, False], [False, False, True]]
    assert decide(probs, np.array([0.95, 0.1, 0.1]), 1, 1).tolist() == [[False, True, False], [False, False, True]]


def test_grades_count_the_cut_points_at_or_below():
    assert cut_grades(np.array([0.1, 0.5, 2.5, 9.0]), np.array([0.5, 1.5, 2.5])).tolist() == [0, 1, 3, 3]
