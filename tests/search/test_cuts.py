"""Cut points: exact along each cut, and better than the usual optimiser."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from foldpack.ensemble.thresholds import cut_grades
from foldpack.metrics.classification import quadratic_kappa
from foldpack.search.decide.cuts import best_cuts

RNG = np.random.default_rng(41)


def test_two_cuts_equal_brute_force():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, 14)
        values = np.round(y + rng.normal(0, 0.8, 14), 1)
        cuts, kappa = best_cuts(values, y, 3)
        tried = np.unique(np.concatenate([values, [values.max() + 1]]))
        brute = max(quadratic_kappa(y, cut_grades(values, np.array(pair))) for pair in combinations(tried, 2))
        assert quadratic_kappa(y, cut_grades(values, cuts)) == pytest.approx(kappa)
        assert kappa >= brute - 0.02  # coordinate ascent may stop at a local best; mostly it does not
        assert kappa <= brute + 1e-9 or len(np.unique(cut_grades(values, cuts))) < 3


def test_cuts_are_no_worse_than_nelder_mead():
    y = RNG.choice(5, 2000, p=[0.5, 0.1, 0.2, 0.1, 0.1])
    values = 0.6 * y + RNG.normal(0, 0.5, 2000)
    cuts, kappa = best_cuts(values, y, 5)
    assert (np.diff(cuts) >= 0).all()
    other = minimize(lambda c: -quadratic_kappa(y, cut_grades(values, np.sort(c))), [0.5, 1.5, 2.5, 3.5],
                     method="Nelder-Mead")
    assert kappa >= -other.fun
