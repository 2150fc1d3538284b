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


def test_a_cut_between_neighbours_is_the_upper_one_in_their_own_type():
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2), dtype=np.float32)
    values, y = np.array([low, low, high, high]), np.array([0, 0, 1, 1])
    cuts, kappa = best_cuts(values, y, 2)
    assert kappa == 1.0 and cut_grades(values, cuts.astype(np.float32)).tolist() == y.tolist()


def test_every_grade_has_its_cut_where_some_rows_lack_the_highest():
    cuts, _ = best_cuts(np.arange(6, dtype=np.float32), np.array([0, 0, 1, 1, 2, 2]), 5)
    assert len(cuts) == 4 and (np.diff(cuts) >= 0).all()
    assert cut_grades(np.arange(6.0), cuts).tolist() == [0, 0, 1, 1, 2, 2]
