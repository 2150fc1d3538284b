"""The ensemble search against its peers, in CPU seconds of one thread, peers beside it in the same run.

    python benchmarks/search.py [--only log_loss,rmse,...] [--json FILE]

Every line names the case, our time, the peer's time and their ratio, then our score and the peer's. Scores marked
"held-out" are of fresh rows drawn alike. Times of fast parts are medians. Data are synthetic and seeded. Peers that are
not installed are said to be missing: pip install hillclimbers==0.1.4 scikit-learn.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before numpy is loaded

import numpy as np  # noqa: E402
from scipy.optimize import minimize  # noqa: E402

from foldpack.metrics.classification import binary_auc, log_loss, true_class_probs  # noqa: E402
from foldpack.metrics.fbeta import fbeta_samples  # noqa: E402
from foldpack.metrics.registry import get_metric  # noqa: E402
from foldpack.search.cells import dense_cells  # noqa: E402
from foldpack.search.compact import compact_cells  # noqa: E402
from foldpack.search.decision import LabelRule, fit_decision, score_cells  # noqa: E402
from foldpack.search.local_model import local_model  # noqa: E402
from foldpack.search.pareto import best_within, pareto_front  # noqa: E402
from foldpack.search.selection import choose  # noqa: E402
from foldpack.search.simplex import fit_log_loss, fit_squared_error  # noqa: E402
from foldpack.search.solvers import Blend, Solver, default_solvers, fit_blend, in_space  # noqa: E402
from foldpack.search.thresholds import best_threshold  # noqa: E402

ANY = LabelRule(min_labels=0)


@dataclass
class Line:
    """One comparison. wanted: the least ratio, or None; ours, peer: scores; ok: whether all that was asked is met."""

    case: str
    peer_name: str
    seconds: float | None
    peer_seconds: float | None
    ours: float | None
    peer: float | None
    ok: bool | None
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        return self.peer_seconds / self.seconds if self.seconds and self.peer_seconds else None


def cpu(job: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Median CPU seconds of a job, and what it gave."""
    times: list[float] = []
    result: Any = None
    for _ in range(repeats):
        start = time.process_time()
        result = job()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def softmax(logits: np.ndarray) -> np.ndarray:
    lifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return lifted / lifted.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


# -- log-loss --------------------------------------------------------------------------------------------------------


def multiclass(seed: int, members: int, items: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng, skill = np.random.default_rng(seed), np.random.default_rng(1).uniform(1.0, 2.2, members)
    y = rng.integers(0, classes, items)
    shared = rng.normal(0, 1, (items, classes))
    stack = np.empty((members, items, classes), dtype=np.float32)
    for m in range(members):
        scores = 0.7 * shared + rng.normal(0, 1, (items, classes))
        scores[np.arange(items), y] += skill[m]
        stack[m] = softmax(scores)
    return stack, y


def clipped_log_loss(y: np.ndarray, p: np.ndarray) -> float:
    """AutoGluon's log-loss without scikit-learn's checks: the whole table is clipped, then the truth is looked up."""
    return float(-np.log(np.clip(p, 1e-15, 1 - 1e-15)[np.arange(len(y)), y]).mean())


def greedy_autogluon(probs: np.ndarray, y: np.ndarray, rounds: int = 25) -> np.ndarray:
    """Caruana's selection as AutoGluon does it: n x C arrays, the metric on every candidate, 25 rounds."""
    total, counts = np.zeros(probs.shape[1:]), np.zeros(len(probs))
    best, best_counts = np.inf, counts
    for length in range(1, rounds + 1):
        losses = [clipped_log_loss(y, (total + member) / length) for member in probs]
        choice = int(np.argmin(losses))
        total += probs[choice]
        counts[choice] += 1
        if losses[choice] < best:
            best, best_counts = losses[choice], counts / counts.sum()
    return best_counts


def slsqp(loss: Callable[[np.ndarray], float], members: int) -> np.ndarray:
    total = {"type": "eq", "fun": lambda w: w.sum() - 1}
    return minimize(loss, np.full(members, 1 / members), method="SLSQP", bounds=[(0, 1)] * members,
                    constraints=[total]).x  # fmt: skip


def bench_log_loss() -> list[Line]:
    probs, y = multiclass(0, 16, 20_000, 100)
    fresh, y_fresh = multiclass(7, 16, 20_000, 100)

    def ours() -> object:
        return fit_log_loss(np.array([true_class_probs(y, member) for member in probs]))

    seconds, found = cpu(ours, 7)

    def score(weights: np.ndarray, stack: np.ndarray, truth: np.ndarray) -> float:
        return log_loss(truth, np.tensordot(weights, stack, 1))

    mine, lines = score(found.weights, probs, y), []
    peers = (
        ("SLSQP, numeric gradient", 100, lambda: slsqp(lambda w: log_loss(y, np.tensordot(w, probs, 1)), 16)),
        ("AutoGluon-style greedy", 200, lambda: greedy_autogluon(probs, y)),
    )
    for name, wanted, job in peers:
        peer_seconds, weights = cpu(job)
        other = score(weights, probs, y)
        held = f"{score(found.weights, fresh, y_fresh):.5f} and {score(weights, fresh, y_fresh):.5f} held-out"
        ok = peer_seconds / seconds >= wanted and mine <= other + 1e-6
        lines.append(Line("log-loss 16x20k x100", name, seconds, peer_seconds, mine, other, ok,
                          f"on the fit's rows; {held}; KKT gap {found.gap:.0e}; asked {wanted}x"))  # fmt: skip
    return lines


# -- squared error and AUC -------------------------------------------------------------------------------------------


def hillclimbers(members: np.ndarray, y: np.ndarray, fresh: np.ndarray, metric, objective: str) -> np.ndarray:
    """hillclimbers 0.1.4: returns its predictions of the fresh rows."""
    import pandas as pd
    from hillclimbers import climb_hill, partial

    names = [f"m{k}" for k in range(len(members))]
    frame = pd.DataFrame(members.T, columns=names)
    with contextlib.redirect_stdout(io.StringIO()):
        return climb_hill(pd.DataFrame({"y": y}), frame, pd.DataFrame(fresh.T, columns=names), "y", objective,
                          partial(metric), plot_hill=False)  # fmt: skip


def missing(case: str, peer: str) -> list[Line]:
    return [Line(case, peer, None, None, None, None, None, "missing: not installed")]


def regression(seed: int, members: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    rng, setup = np.random.default_rng(seed), np.random.default_rng(2)
    shares, noise = setup.normal(0, 0.4, (members, 3)), setup.uniform(0.6, 1.5, members)
    y, shared = rng.normal(size=items), rng.normal(size=(3, items))
    return y + shares @ shared + noise[:, None] * rng.normal(size=(members, items)), y


def bench_rmse() -> list[Line]:
    case, peer = "RMSE 20x20k", "hillclimbers 0.1.4"
    if importlib.util.find_spec("hillclimbers") is None:
        return missing(case, peer)
    rmse = get_metric("rmse").function
    values, y = regression(0, 20, 20_000)
    fresh, y_fresh = regression(9, 20, 20_000)
    seconds, found = cpu(lambda: fit_squared_error(values, y), 15)
    peer_seconds, predicted = cpu(lambda: hillclimbers(values, y, fresh, rmse, "minimize"))
    mine, other = rmse(y_fresh, found.weights @ fresh), rmse(y_fresh, np.asarray(predicted))
    ok = peer_seconds / seconds >= 500 and mine <= other + 1e-6
    return [Line(case, peer, seconds, peer_seconds, mine, other, ok, f"held-out; KKT gap {found.gap:.0e}; asked 500x")]


def binary(seed: int, members: int, items: int, skill: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    rng, setup = np.random.default_rng(seed), np.random.default_rng(3)
    quality = setup.uniform(*skill, members)
    truth = rng.normal(size=items)
    y = rng.random(items) < sigmoid(1.5 * truth)
    shared = 0.6 * rng.normal(size=items)
    return sigmoid(quality[:, None] * truth + shared + rng.normal(size=(members, items))).astype(np.float32), y


def bench_auc() -> list[Line]:
    case, peer = "AUC 16x20k", "hillclimbers 0.1.4"
    if importlib.util.find_spec("hillclimbers") is None:
        return missing(case, peer)
    from sklearn.metrics import roc_auc_score

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
    peer_seconds, predicted = cpu(lambda: hillclimbers(probs, y, fresh, roc_auc_score, "maximize"))
    other = binary_auc(y_fresh, np.asarray(predicted))
    ok = peer_seconds / seconds >= 50 and mine >= other - 1e-3
    return [Line(case, peer, seconds, peer_seconds, mine, other, ok,
                 f"held-out; all default solvers, {blend.solver.name} best; asked 50x")]  # fmt: skip


# -- multi-label -----------------------------------------------------------------------------------------------------


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
    ]  # fmt: skip


def bench_sweep() -> list[Line]:
    probs, y = multilabel(0, 3, 20_000, 100)
    blend = probs.mean(axis=0)
    best_threshold(blend, y)
    seconds, (threshold, score) = cpu(lambda: best_threshold(blend, y), 5)
    lines = []
    if importlib.util.find_spec("sklearn") is None:
        lines += missing("threshold 20k x100", "scikit-learn, 100 points")
    else:
        from sklearn.metrics import fbeta_score

        some = np.linspace(0.01, 0.5, 100)[::33]
        peer_seconds, scores = cpu(
            lambda: [fbeta_score(y, blend >= t, beta=2, average="samples", zero_division=0) for t in some]
        )
        peer_seconds *= 100 / len(some)
        ok = peer_seconds / seconds >= 100 and score >= max(scores)
        lines.append(Line("threshold 20k x100", "scikit-learn, 100 points", seconds, peer_seconds, score, max(scores),
                          ok, f"{len(some)} points timed, times {100 / len(some):.0f}; asked 100x"))  # fmt: skip
    few, few_y = blend[:60], y[:60]
    found = best_threshold(few, few_y)[1]
    brute = max(fbeta_samples(few_y, few >= t, 2.0) for t in np.unique(few))
    lines.append(Line("threshold 60 x100", f"brute force, {len(np.unique(few))} thresholds", None, None, found, brute,
                      abs(found - brute) < 1e-12, "must be equal"))  # fmt: skip
    return lines


def bench_compact() -> list[Line]:
    probs, y = multilabel(0, 7, 22_000, 1103)
    f2 = get_metric("f2")
    store, cells = cpu(lambda: compact_cells([lambda a, b, member=member: member[a:b] for member in probs], y, 1103,
                                             store_bytes=96 << 20))  # fmt: skip
    blend = Blend(Solver("probability", "certified"), np.full(7, 1 / 7))
    every, (decision, _) = cpu(lambda: fit_decision(cells, blend.of(cells), f2, ANY), 5)
    seconds, score = cpu(lambda: score_cells(cells, blend.of(cells), f2, decision, ANY), 9)
    if importlib.util.find_spec("sklearn") is None:
        return missing("one blend + F2, 7x22k x1103", "iMet objective, scikit-learn F2")
    from sklearn.metrics import fbeta_score

    def objective() -> float:
        total = np.zeros(y.shape)
        for member in probs:
            total += (member.astype(np.float64) - decision.threshold) / 7
        return fbeta_score(y, total > 0, beta=2, average="samples", zero_division=0)

    peer_seconds, other = cpu(objective)
    ok = peer_seconds / seconds >= 30 and abs(score - other) < 1e-4
    kept = f"{cells.values.shape[1] / y.size:.1%} of cells kept in {store:.1f} s, once"
    return [Line("one blend + F2, 7x22k x1103", "iMet objective, scikit-learn F2", seconds, peer_seconds, score, other,
                 ok, f"{kept}; every threshold instead of one: {every:.3f} s; asked 30x")]  # fmt: skip


# -- honesty and cost ------------------------------------------------------------------------------------------------


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
                  mine >= equal - 0.002, f"held-out; nested said {nested:.4f}; asked: not below by .002")]  # fmt: skip
    chance = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        cells = dense_cells(rng.random((40, 1000), dtype=np.float32), rng.random(1000) < 0.5)
        chance.append(choose(cells, default_solvers(cells, auc), auc, np.arange(1000) % 5)[0].mean)
    lines.append(Line("pure noise, nested AUC, 8 seeds", "chance", None, None, float(np.mean(chance)), 0.5,
                      abs(np.mean(chance) - 0.5) < 0.015, "nested score"))  # fmt: skip
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
                          "RMSE of the fit; asked: never worse"))  # fmt: skip
    lines.append(enumeration())
    return lines


def enumeration(members: int = 8) -> Line:
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
                "largest difference over 200 budgets")  # fmt: skip


CASES = {
    "log_loss": bench_log_loss, "rmse": bench_rmse, "f2": bench_f2, "sweep": bench_sweep, "compact": bench_compact,
    "noise": bench_noise, "budget": bench_budget, "auc": bench_auc,
}  # fmt: skip


def show(line: Line) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    verdict = {True: "met", False: "NOT MET", None: "missing"}[line.ok]
    return (f"{line.case:38s} {line.peer_name:32s} {number(line.seconds, '9.4f')} {number(line.peer_seconds, '9.3f')} "
            f"{number(line.ratio, '8.1f')}x  {number(line.ours, '.6f')} {number(line.peer, '.6f')}  {verdict}; "
            f"{line.remark}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", type=Path, help="also write the lines here")
    options = parser.parse_args()
    print(f"{'case':38s} {'peer':32s} {'ours s':>9s} {'peer s':>9s} {'ratio':>9s}  ours peer")
    lines: list[Line] = []
    for case in options.only.split(","):
        for line in CASES[case]():
            print(show(line), flush=True)
            lines.append(line)
    if options.json:
        options.json.write_text(json.dumps([asdict(line) | {"ratio": line.ratio} for line in lines], indent=1) + "\n")
    return 1 if any(line.ok is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
