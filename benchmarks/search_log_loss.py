"""Log-loss of 16 members, 20,000 items and 100 classes: SLSQP with numeric gradients, and AutoGluon's greedy."""

from __future__ import annotations

from collections.abc import Callable

from search_common import Line, cpu, softmax  # before numpy

import numpy as np  # isort: skip
from scipy.optimize import minimize

from foldpack.metrics.classification import log_loss, true_class_probs
from foldpack.search.weights.simplex import fit_log_loss


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
                    constraints=[total]).x


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
                          f"on the fit's rows; {held}; KKT gap {found.gap:.0e}; asked {wanted}x"))
    return lines
