"""Squared error of real values, and AUC: hillclimbers."""

from __future__ import annotations

import contextlib
import io
from types import ModuleType

from search_common import ANY, Line, binary, cpu, missing, regression  # before numpy

import numpy as np  # isort: skip
import pandas as pd
from peers import find_peer
from sklearn.metrics import roc_auc_score

from foldpack.metrics.classification import binary_auc
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.decide.decision import fit_decision
from foldpack.search.weights.simplex import fit_squared_error
from foldpack.search.weights.solvers import default_solvers, fit_blend, in_space


def climb(
    peer: ModuleType, members: np.ndarray, y: np.ndarray, fresh: np.ndarray, metric, objective: str
) -> np.ndarray:
    """hillclimbers 0.1.4: returns its predictions of the fresh rows."""
    names = [f"m{k}" for k in range(len(members))]
    frame = pd.DataFrame(members.T, columns=names)
    with contextlib.redirect_stdout(io.StringIO()):
        return peer.climb_hill(pd.DataFrame({"y": y}), frame, pd.DataFrame(fresh.T, columns=names), "y", objective,
                          peer.partial(metric), plot_hill=False)


def bench_rmse() -> list[Line]:
    case, peer = "RMSE 20x20k", "hillclimbers 0.1.4"
    hillclimbers = find_peer("hillclimbers", case)
    if hillclimbers is None:
        return missing(case, peer)
    rmse = get_metric("rmse").function
    values, y = regression(0, 20, 20_000)
    fresh, y_fresh = regression(9, 20, 20_000)
    seconds, found = cpu(lambda: fit_squared_error(values, y), 15)
    peer_seconds, predicted = cpu(lambda: climb(hillclimbers, values, y, fresh, rmse, "minimize"))
    mine, other = rmse(y_fresh, found.weights @ fresh), rmse(y_fresh, np.asarray(predicted))
    ok = peer_seconds / seconds >= 500 and mine <= other + 1e-6
    return [Line(case, peer, seconds, peer_seconds, mine, other, ok, f"held-out; KKT gap {found.gap:.0e}; asked 500x")]


def bench_auc() -> list[Line]:
    case, peer = "AUC 16x20k", "hillclimbers 0.1.4"
    hillclimbers = find_peer("hillclimbers", case)
    if hillclimbers is None:
        return missing(case, peer)
    probs, y = binary(0, 16, 20_000, (0.3, 0.8))
    fresh, y_fresh = binary(9, 16, 20_000, (0.3, 0.8))
    metric, cells = get_metric("auc"), dense_cells(probs, y)

    def ours() -> tuple[object, object]:
        blends = []
        for solver in default_solvers(cells, metric):
            there = in_space(cells, solver)
            blend = fit_blend(there, solver, metric, ANY)
            blends.append((fit_decision(there, blend.of(there), metric, ANY)[1], blend))
        return max(blends, key=lambda pair: pair[0])

    seconds, (_, blend) = cpu(ours, 3)
    fresh_cells = in_space(dense_cells(fresh, y_fresh), blend.solver)
    mine = binary_auc(y_fresh, blend.of(fresh_cells))
    peer_seconds, predicted = cpu(lambda: climb(hillclimbers, probs, y, fresh, roc_auc_score, "maximize"))
    other = binary_auc(y_fresh, np.asarray(predicted))
    ok = peer_seconds / seconds >= 50 and mine >= other - 1e-3
    return [Line(case, peer, seconds, peer_seconds, mine, other, ok,
                 f"held-out; all default solvers, {blend.solver.name} best; asked 50x")]
