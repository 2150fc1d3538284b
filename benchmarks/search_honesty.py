"""Noise that must not be believed, and what fits into a budget of hours."""

from __future__ import annotations

import statistics
import time
from functools import partial
from itertools import combinations

from search_common import ANY, Line, binary, cpu, regression  # before numpy

import numpy as np  # isort: skip

from foldpack.metrics.classification import binary_auc
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.hours.pareto import best_within, pareto_front
from foldpack.search.weights.local_model import local_model
from foldpack.search.weights.selection import choose
from foldpack.search.weights.solvers import Solver, default_solvers, fit_blend, in_space


def bench_noise(seeds: int = 8) -> list[Line]:
    auc, rows = get_metric("auc"), []
    start = time.process_time()
    for seed in range(seeds):
        probs, y = binary(seed, 40, 21_000, (0.35, 0.5))
        train, fresh = dense_cells(probs[:, :1000], y[:1000]), dense_cells(probs[:, 1000:], y[1000:])
        choice, whole = choose(train, default_solvers(train, auc), auc, np.arange(1000) % 5)
        blend = whole[choice.chosen.solver].shrunk(choice.chosen.share)
        mine = binary_auc(fresh.y, blend.of(in_space(fresh, blend.solver)))
        rows.append((mine, binary_auc(fresh.y, fresh.values.mean(axis=0)), choice.mean))
    mine, equal, nested = np.mean(rows, axis=0)
    lines = [Line("n=1000, 40 members, AUC, 8 seeds", "uniform", time.process_time() - start, None, mine, equal,
                  mine >= equal - 0.002, f"held-out; nested said {nested:.4f}; asked: not below by .002")]
    chance = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        cells = dense_cells(rng.random((40, 1000), dtype=np.float32), rng.random(1000) < 0.5)
        chance.append(choose(cells, default_solvers(cells, auc), auc, np.arange(1000) % 5)[0].mean)
    lines.append(Line("pure noise, nested AUC, 8 seeds", "chance", None, None, float(np.mean(chance)), 0.5,
                      abs(np.mean(chance) - 0.5) < 0.015, "nested score"))
    return lines


def bench_budget(draws: int = 12) -> list[Line]:
    lines = []
    losses: dict[float, list[tuple[float, float, float]]] = {0.25: [], 0.5: [], 0.75: []}
    times = []
    for draw in range(draws):
        values, y = regression(100 + draw, 13, 2_000)
        hours = np.random.default_rng(draw).uniform(0.2, 2.0, 13)
        cells = dense_cells(values, y)
        blend = fit_blend(cells, Solver("linear", "certified"), get_metric("rmse"), ANY)
        seconds, front = cpu(partial(pareto_front, local_model(cells, blend), hours))
        times.append(seconds)
        gram = values @ values.T / values.shape[1]
        linear = values @ y / values.shape[1]
        alone = np.diag(gram) - 2 * linear
        for share, found in losses.items():
            limit = share * hours.sum()
            best = best_within(front, limit)
            kept = list(range(13))
            while hours[kept].sum() > limit:  # AutoGluon's rule: drop the worst until it fits
                kept.remove(max(kept, key=lambda m: alone[m]))
            rule = fit_blend(cells.take_members(np.array(kept)), Solver("linear", "certified"), get_metric("rmse"), ANY)
            found.append((blend.loss + best.loss, rule.loss, share))
    for share, found in losses.items():
        mine, other = (float(np.sqrt(np.mean([row[k] for row in found]))) for k in (0, 1))
        ok = all(row[0] <= row[1] + 1e-9 for row in found)
        lines.append(Line(f"{share:.0%} of hours, 13 members, 12 draws", "drop the worst until it fits",
                          statistics.median(times), None, mine, other, ok,
                          "RMSE of the fit; asked: never worse"))
    lines.append(enumeration())
    return lines


def enumeration(members: int = 13) -> Line:
    """The front against every subset, each refitted."""
    values, y = regression(500, members, 2_000)
    hours = np.random.default_rng(0).uniform(0.2, 2.0, members)
    cells, solver, rmse = dense_cells(values, y), Solver("linear", "certified"), get_metric("rmse")
    blend = fit_blend(cells, solver, rmse, ANY)
    sets = [s for k in range(1, members + 1) for s in combinations(range(members), k)]
    parts = [cells.take_members(np.array(s)) for s in sets]
    peer_seconds, losses = cpu(lambda: [fit_blend(part, solver, rmse, ANY).loss for part in parts])
    seconds, front = cpu(lambda: pareto_front(local_model(cells, blend), hours))
    costs = np.array([hours[list(s)].sum() for s in sets])
    worst = 0.0
    for limit in np.linspace(hours.min(), hours.sum(), 200):
        exact = np.min(np.array(losses)[costs <= limit + 1e-9])
        worst = max(worst, abs(blend.loss + best_within(front, limit + 1e-9).loss - exact))
    return Line(f"front of {members} members", "every subset refitted", seconds, peer_seconds, worst, 0.0, worst < 1e-7,
                "largest difference over 200 budgets")
