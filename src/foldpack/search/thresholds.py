"""The best threshold over *every* distinct score, without trying them one by one.

Selecting one cell more in a row changes that row's F-beta by a known amount; sorted by score and summed up, these
changes are the whole curve of the score over the threshold. Most thresholds need not be sorted at all: between two
edges a row has at most the hits of the lower edge and at least the selections of the upper one, which bounds its
F-beta; intervals whose bound is below the best edge are left out. The result is exact, the sort is small.
"""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.thresholds import highest_labels
from foldpack.metrics.fbeta import fbeta_from_counts

EDGES = 63  # coarse thresholds; the 64 intervals between them fit a uint8


def best_threshold(
    probs: np.ndarray,
    y: np.ndarray,
    beta: float = 2.0,
    min_labels: int = 0,
    max_labels: int | None = None,
    average: str = "samples",
) -> tuple[float, float]:
    """The threshold with the highest F-beta over all distinct scores, and that F-beta.

    probs: (n, C) float32 or float64, finite; y: (n, C) bool; decisions are `ensemble.thresholds.decide`'s.
    average: "samples", "micro" or "macro". Of equally good thresholds the highest is taken; the threshold returned
    lies midway between the lowest score selected and the next one, so that rounding does not flip a decision.
    """
    scores = forced(probs, min_labels, max_labels)
    if average == "micro":
        found, score = _micro_sweep(scores, y, beta)
    elif average == "macro":
        found, score = _row_sweep(scores.T, y.T, beta)
    else:
        found, score = _row_sweep(scores, y, beta)
    return _midway(scores, found), score


def forced(probs: np.ndarray, min_labels: int, max_labels: int | None) -> np.ndarray:
    """(n, C) scores with +inf where a label is always taken and -inf where it never is; a copy only if needed."""
    if min_labels <= 0 and (max_labels is None or max_labels >= probs.shape[1]):
        return probs
    scores = probs.copy()
    if max_labels is not None and max_labels < probs.shape[1]:
        scores[~highest_labels(probs, max_labels)] = -np.inf
    if min_labels > 0:
        scores[highest_labels(probs, min_labels)] = np.inf
    return scores


def _row_sweep(scores: np.ndarray, y: np.ndarray, beta: float) -> tuple[float, float]:
    """(lowest selected score, mean over rows of F-beta) at the best threshold. scores, y: (rows, columns)."""
    true = y.sum(axis=1)
    edges = _coarse_edges(scores, y)
    selected, hits = _counts_at_edges(scores, y, edges)
    at_edges = fbeta_from_counts(hits, selected, true[:, None], beta).mean(axis=0)
    # Interval i holds the thresholds in [edges[i-1], edges[i]): its lower end selects the most.
    most_hits = hits[:, :-1]
    least = np.maximum(selected[:, 1:], most_hits)
    bounds = fbeta_from_counts(most_hits, least, true[:, None], beta).mean(axis=0)
    best_edge = len(at_edges) - 1 - int(at_edges[::-1].argmax())
    best = (float(edges[best_edge]), float(at_edges[best_edge]))
    for interval in np.flatnonzero(bounds >= best[1] - 1e-12)[::-1]:
        low, high = edges[interval], edges[interval + 1]
        state = (hits[:, interval + 1], selected[:, interval + 1], true)
        found = _interval_sweep(scores, y, low, high, state, beta)
        if found is not None and found[1] > best[1] + 1e-12:
            best = found
    return best


def _coarse_edges(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ascending thresholds, the first below and the last above every finite score, most of them where positives are."""
    finite = scores[np.isfinite(scores)]
    if finite.size == 0:
        return np.array([0.0, 1.0], dtype=scores.dtype)
    sample = finite[:: max(1, finite.size // 20000)]
    positive = scores[y & np.isfinite(scores)]
    positive = positive[:: max(1, positive.size // 20000)]
    shares = np.linspace(0, 1, EDGES // 2)
    inner = [np.quantile(part, shares, method="nearest") for part in (sample, positive) if part.size]
    ends = np.array([finite.min(), np.nextafter(finite.max(), np.inf)], dtype=scores.dtype)
    return np.unique(np.concatenate([*inner, ends])).astype(scores.dtype)


def _counts_at_edges(scores: np.ndarray, y: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many cells of each row, and how many true ones, are selected at each edge: two (rows, edges) int arrays."""
    rows, bins = scores.shape[0], len(edges) + 1
    slot = np.searchsorted(edges, scores, side="right")  # selected at edge e when slot > e
    slot += np.arange(rows)[:, None] * bins
    every = np.bincount(slot.ravel(), minlength=rows * bins).reshape(rows, bins)
    true = np.bincount(slot[y], minlength=rows * bins).reshape(rows, bins)
    return _from_above(every), _from_above(true)


def _from_above(counts: np.ndarray) -> np.ndarray:
    """(rows, edges + 1) counts by slot -> (rows, edges) counts of the slots above each edge."""
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _interval_sweep(scores, y, low, high, state, beta) -> tuple[float, float] | None:
    """The best (lowest selected score, F-beta) among the scores in [low, high); None when there are none.

    state: (hits, selected, true), each (rows,), at the threshold `high`.
    """
    row, column = np.nonzero((scores >= low) & (scores < high))
    if row.size == 0:
        return None
    value, hit = scores[row, column], y[row, column]
    order = np.lexsort((-value, row))
    row, value, hit = row[order], value[order], hit[order]
    hits, selected, true = (counts[row] for counts in state)
    first = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    run = np.arange(row.size) - np.repeat(first, np.diff(np.append(first, row.size)))
    hits_here = np.cumsum(hit)
    before = hits_here[first] - hit[first]
    hits_now = hits + hits_here - np.repeat(before, np.diff(np.append(first, row.size)))
    after = fbeta_from_counts(hits_now, selected + run + 1, true, beta)
    without = fbeta_from_counts(hits_now - hit, selected + run, true, beta)
    down = np.argsort(-value, kind="stable")
    value = value[down]
    start = fbeta_from_counts(state[0], state[1], state[2], beta).sum()
    curve = (start + np.cumsum((after - without)[down])) / scores.shape[0]
    last = np.flatnonzero(np.append(value[1:] != value[:-1], True))  # tied scores are selected together
    best = last[curve[last].argmax()]
    return float(value[best]), float(curve[best])


def _micro_sweep(scores: np.ndarray, y: np.ndarray, beta: float) -> tuple[float, float]:
    """(lowest selected score, F-beta of the pooled counts) at the best threshold."""
    flat, hit = scores.ravel(), y.ravel()
    order = np.argsort(-flat, kind="stable")
    value = flat[order]
    last = np.flatnonzero(np.append(value[1:] != value[:-1], True))
    last = last[value[last] > -np.inf]
    hits = np.cumsum(hit[order])[last]
    curve = fbeta_from_counts(hits, last + 1, np.asarray(hit.sum()), beta)
    if not len(curve):
        return np.inf, 0.0
    return float(value[last[curve.argmax()]]), float(curve.max())


def _midway(scores: np.ndarray, lowest: float) -> float:
    """A threshold between the lowest selected score and the next lower finite one."""
    finite = scores[np.isfinite(scores)]
    if finite.size == 0:
        return 0.5
    if lowest > finite.max():  # nothing but the forced labels is selected
        return float(finite.max()) + 1.0
    below = finite[finite < lowest]
    return float((lowest + below.max()) / 2) if below.size else float(lowest) - 1e-3
