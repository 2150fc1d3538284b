"""F2 of many labels: the iMet recipe, scikit-learn's threshold grid, and one blend in a compact store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from search_common import ANY, Line, cpu, sigmoid  # before numpy

import numpy as np  # isort: skip
from scipy.optimize import minimize
from sklearn.metrics import fbeta_score

from foldpack.metrics.fbeta import fbeta_samples
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.cells.compact import compact_cells
from foldpack.search.decide.best_threshold import best_threshold
from foldpack.search.decide.decision import fit_decision, score_cells
from foldpack.search.weights.solvers import Blend, Solver, fit_blend, in_space


def multilabel(seed: int, members: int, items: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Members of different temperature and offset, with shared and own noise; rare classes as in iMet."""
    rng, setup = np.random.default_rng(seed), np.random.default_rng(4)
    frequency = setup.beta(0.5, 14, classes)
    heat, offset = setup.uniform(0.5, 2.0, members), setup.normal(0, 0.8, members)
    noise = setup.uniform(1.0, 2.0, members)
    y = rng.random((items, classes)) < frequency
    base = np.log(frequency / (1 - frequency)) + 2.5 * y + rng.normal(0, 1, y.shape)
    stack = np.empty((members, items, classes), dtype=np.float32)
    for m in range(members):
        stack[m] = sigmoid(heat[m] * (base + noise[m] * rng.normal(0, 1, y.shape)) + offset[m])
    return stack, y


def imet_recipe(probs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A member's own best threshold is subtracted; Nelder-Mead from equal weights; a label where the sum is above 0."""
    thresholds = np.array([best_threshold(member, y)[0] for member in probs])
    margins = [member.astype(np.float64) - t for member, t in zip(probs, thresholds, strict=True)]

    def loss(weights: np.ndarray) -> float:
        total = np.zeros(y.shape)
        for weight, margin in zip(weights, margins, strict=True):
            total += weight * margin
        return -fbeta_samples(y, total > 0, 2.0)

    found = minimize(loss, np.full(len(probs), 1 / len(probs)), method="Nelder-Mead")
    return found.x, thresholds


def bench_f2() -> list[Line]:
    probs, y = multilabel(0, 12, 20_000, 100)
    fresh, y_fresh = multilabel(9, 12, 20_000, 100)
    f2, solver = get_metric("f2"), Solver("logit", "certified")

    def ours() -> tuple[object, float]:
        there = in_space(dense_cells(probs, y), solver)
        blend = fit_blend(there, solver, f2, ANY)
        return blend, fit_decision(there, blend.of(there), f2, ANY)[0].threshold

    seconds, (blend, threshold) = cpu(ours, 3)
    there = in_space(dense_cells(fresh, y_fresh), solver)
    mine = fbeta_samples(y_fresh, there.dense(blend.of(there)) >= threshold, 2.0)
    equal = fbeta_samples(y_fresh, fresh.mean(axis=0) >= best_threshold(probs.mean(axis=0), y)[0], 2.0)
    peer_seconds, (weights, thresholds) = cpu(lambda: imet_recipe(probs, y))
    margin = np.tensordot(weights, fresh - thresholds[:, None, None].astype(np.float32), 1)
    other = fbeta_samples(y_fresh, margin > 0, 2.0)
    ok = mine >= other + 0.015 and mine > equal and peer_seconds / seconds >= 8
    return [
        Line("F2 12x20k x100", "iMet recipe", seconds, peer_seconds, mine, other, ok,
             f"held-out; uniform {equal:.5f}; KKT gap {blend.gap:.0e}; asked 8x and +.015"),
    ]


def bench_sweep() -> list[Line]:
    probs, y = multilabel(0, 3, 20_000, 100)
    blend = probs.mean(axis=0)
    best_threshold(blend, y)
    seconds, (threshold, score) = cpu(lambda: best_threshold(blend, y), 5)
    some = np.linspace(0.01, 0.5, 100)[::33]
    peer_seconds, scores = cpu(
        lambda: [fbeta_score(y, blend >= t, beta=2, average="samples", zero_division=0) for t in some]
    )
    peer_seconds *= 100 / len(some)
    ok = peer_seconds / seconds >= 100 and score >= max(scores)
    lines = [Line("threshold 20k x100", "scikit-learn, 100 points", seconds, peer_seconds, score, max(scores),
                  ok, f"{len(some)} points timed, times {100 / len(some):.0f}; asked 100x")]
    few, few_y = blend[:60], y[:60]
    found = best_threshold(few, few_y)[1]
    brute = max(fbeta_samples(few_y, few >= t, 2.0) for t in np.unique(few))
    lines.append(Line("threshold 60 x100", f"brute force, {len(np.unique(few))} thresholds", None, None, found, brute,
                      abs(found - brute) < 1e-12, "must be equal"))
    return lines


def imet_like(seed: int, members: int, items: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """About 3.2 labels an item, most classes rare; members that differ in noise, temperature and offset."""
    rng, setup = np.random.default_rng(seed), np.random.default_rng(5)
    frequency = 1 / np.arange(1, classes + 1) ** 0.9
    frequency = np.minimum(3.2 * frequency / frequency.sum(), 0.3)
    y = rng.random((items, classes), dtype=np.float32) < frequency
    base = np.log(frequency / (1 - frequency)).astype(np.float32) + 4 * y
    base += rng.standard_normal(y.shape, dtype=np.float32)
    stack = np.empty((members, items, classes), dtype=np.float32)
    for m in range(members):
        noise = rng.standard_normal(y.shape, dtype=np.float32)
        heat, offset = np.float32(setup.uniform(0.8, 1.2)), np.float32(setup.normal(0, 0.3))
        stack[m] = sigmoid(heat * (base + noise) + offset)
    return stack, y


def bench_compact() -> list[Line]:
    """One evaluation of a blend: the iMet objective makes (n, C) float64 arrays for each member, cut at 0."""
    probs, y = imet_like(0, 7, 22_000, 1103)
    f2 = get_metric("f2")
    store, cells = cpu(lambda: compact_cells([lambda a, b, member=member: member[a:b] for member in probs], y, 1103,
                                             store_bytes=96 << 20))
    blend = Blend(Solver("probability", "certified"), np.full(7, 1 / 7))
    every, (decision, _) = cpu(lambda: fit_decision(cells, blend.of(cells), f2, ANY), 3)
    seconds, score = cpu(lambda: score_cells(cells, blend.of(cells), f2, decision, ANY), 9)

    def objective(metric: Callable[[np.ndarray, np.ndarray], float]) -> float:
        total = np.zeros(y.shape)
        for member in probs:
            total += (member.astype(np.float64) - decision.threshold) / 7
        return metric(y, total > 0)

    peers: list[tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = [
        ("iMet objective, F2 in numpy", lambda truth, decided: fbeta_samples(truth, decided, 2.0)),
        ("iMet objective, scikit-learn F2", partial(fbeta_score, beta=2, average="samples", zero_division=0)),
    ]
    kept = f"{cells.values.shape[1] / y.size:.1%} of cells kept, above {cells.floor:.3f}, in {store:.1f} s, once"
    lines = []
    for name, metric in peers:
        peer_seconds, other = cpu(partial(objective, metric), 3 if "numpy" in name else 1)
        ok = peer_seconds / seconds >= 30 and abs(score - other) < 1e-6 and decision.threshold > cells.floor
        lines.append(Line("one blend + F2, 7x22k x1103", name, seconds, peer_seconds, score, other, ok,
                          f"{kept}; every threshold instead of one: {every:.3f} s; asked 30x"))
    return lines
