"""Cut points that turn a real value into a grade, with the highest quadratic weighted kappa."""

from __future__ import annotations

import numpy as np


def best_cuts(values: np.ndarray, y: np.ndarray, grades: int) -> tuple[np.ndarray, float]:
    """((grades - 1,) ascending cut points, kappa). `ensemble.thresholds.cut_grades` applies them.

    values: (n,) float, in whose type the cuts are exact; y: (n,) grades 0..grades-1. One cut at a time is moved to its
    exact best place between its neighbours until nothing improves, from two starts: the grades' own shares, and halves
    between the grades.
    """
    order = np.argsort(values, kind="stable")
    value, truth = values[order].astype(np.float64), y[order].astype(np.float64)
    shares = np.searchsorted(np.sort(truth), np.arange(1, grades))
    starts = (shares, np.searchsorted(value, np.arange(1, grades) - 0.5))
    found = [_climb(value, truth, np.asarray(start)) for start in starts]
    places, kappa = max(found, key=lambda one: one[1])
    edges = np.concatenate(([value[0] - 1], value, [value[-1] + 1]))
    cuts = ((edges[places] + edges[places + 1]) / 2).astype(values.dtype)
    # Neighbours have no number between them: a value at a cut has the higher grade, so the cut is the upper one.
    return np.where(cuts > edges[places], cuts, edges[places + 1]).astype(np.float64), kappa


def _climb(value: np.ndarray, truth: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, float]:
    """Coordinate ascent. places[j]: how many sorted items lie below cut j; only between different values."""
    allowed = np.flatnonzero(np.concatenate(([True], value[1:] != value[:-1], [True])))
    places = allowed[np.searchsorted(allowed, places)]
    best = -np.inf
    for _ in range(50):
        before = best
        for cut in range(len(places)):
            low = places[cut - 1] if cut else 0
            high = places[cut + 1] if cut + 1 < len(places) else len(value)
            tried = allowed[(allowed >= low) & (allowed <= high)]
            kappas = _kappas(truth, places, cut, tried)
            choice = int(kappas.argmax())
            if kappas[choice] > best + 1e-12:
                best, places = float(kappas[choice]), np.concatenate((places[:cut], [tried[choice]], places[cut + 1 :]))
        if best <= before:
            break
    return places, best


def _kappas(truth: np.ndarray, places: np.ndarray, cut: int, tried: np.ndarray) -> np.ndarray:
    """Kappa for every tried place of one cut. All sums change by what lies between: prefix sums give them at once."""
    n = len(truth)
    given = np.searchsorted(places, np.arange(n), side="right").astype(np.float64)
    low = places[cut - 1] if cut else 0
    high = places[cut + 1] if cut + 1 < len(places) else n
    given[low:high] = cut + 1  # as if the cut lay lowest; items below a tried place then fall by one grade
    below = np.concatenate(([0.0], np.cumsum(2 * (truth - given) + 1)))  # (t-(g-1))² - (t-g)² = 2(t-g) + 1
    fallen = tried - low
    seen = np.sum((truth - given) ** 2) + below[tried] - below[low]
    total = given.sum() - fallen
    squares = np.sum(given**2) - fallen * (2 * (cut + 1) - 1)
    by_chance = np.sum(truth**2) + squares - 2 * truth.sum() * total / n
    return np.where(by_chance > 0, 1 - seen / np.maximum(by_chance, 1e-300), 0.0)
