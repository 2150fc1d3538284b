"""The best threshold over *every* distinct score, without trying them one by one.

Selecting one cell more in a group (an item, or a class for the macro average) changes that group's F-beta by a known
amount; sorted by score and summed up, these changes are the whole curve of the score over the threshold. Most
thresholds need not be sorted at all: between two edges a group has at most the hits of the lower edge and at least
the selections of the upper one, which bounds its F-beta; intervals whose bound is below the best edge are left out.
The result is exact, the sort is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.metrics.fbeta import fbeta_from_counts
from foldpack.search.cells.cells import Cells, dense_cells

EDGES = 64  # coarse thresholds
TIE = 1e-12  # two means of F-beta nearer than this are the same


@dataclass(frozen=True)
class Sweep:
    """What a sweep works on. scores, y, group: (N,), the cells that a threshold decides on; the others are in

    hits, selected: (G,) true and all cells selected at any threshold; true: (G,) true cells of each group.
    """

    scores: np.ndarray
    y: np.ndarray
    group: np.ndarray
    hits: np.ndarray
    selected: np.ndarray
    true: np.ndarray


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
    return best_cell_threshold(dense_cells(probs[None], y), probs.reshape(-1), beta, min_labels, max_labels, average)


def best_cell_threshold(
    cells: Cells,
    blend: np.ndarray,
    beta: float,
    min_labels: int = 0,
    max_labels: int | None = None,
    average: str = "samples",
) -> tuple[float, float]:
    """`best_threshold` for a blend (N,) of "labels" cells; cells that were dropped are never selected."""
    sweep = _prepare(cells, blend, min_labels, max_labels, average)
    found, score = _micro_sweep(sweep, beta) if average == "micro" else _group_sweep(sweep, beta)
    return _midway(sweep.scores, found), score


def forced_cells(cells: Cells, blend: np.ndarray, min_labels: int, max_labels: int | None) -> tuple[np.ndarray, ...]:
    """(N,) bool twice: cells selected at any threshold, cells never selected."""
    always = highest_cells(cells, blend, min_labels)
    if max_labels is None or max_labels >= cells.classes:
        return always, np.zeros_like(always)
    return always, ~highest_cells(cells, blend, max_labels)


def highest_cells(cells: Cells, blend: np.ndarray, count: int) -> np.ndarray:
    """(N,) bool: the `count` highest cells of every item (fewer when it has fewer); ties go to the lower class."""
    if count <= 0:
        return np.zeros(len(blend), dtype=bool)
    if count == 1:
        best = np.flatnonzero(blend == np.maximum.reduceat(blend, cells.starts)[cells.row])
        chosen = np.zeros(len(blend), dtype=bool)
        chosen[best[np.append(True, np.diff(cells.row[best]) > 0)]] = True
        return chosen
    order = np.lexsort((-blend, cells.row))
    place = np.empty(len(blend), dtype=np.int64)
    place[order] = np.arange(len(blend)) - cells.starts[cells.row[order]]
    return place < count


def _prepare(cells: Cells, blend: np.ndarray, min_labels: int, max_labels: int | None, average: str) -> Sweep:
    macro = average == "macro"
    groups, group = (cells.classes, cells.column) if macro else (cells.items, cells.row)
    true = cells.class_counts if macro else cells.true_counts
    if cells.full and min_labels <= 0 and (max_labels is None or max_labels >= cells.classes):
        zero = np.zeros(groups, dtype=np.int64)
        return Sweep(blend, cells.y, group, zero, zero, true)
    always, never = forced_cells(cells, blend, min_labels, max_labels)
    hits = np.bincount(group[always & cells.y], minlength=groups)
    selected = np.bincount(group[always], minlength=groups)
    open_to = ~(always | never)
    if not cells.full:  # 0 stands for "not above what dropped cells can reach": see `solvers.finish_blend`
        open_to &= blend > 0
    return Sweep(blend[open_to], cells.y[open_to], group[open_to], hits, selected, true)


def _group_sweep(sweep: Sweep, beta: float) -> tuple[float, float]:
    """(lowest selected score or inf, mean over groups of F-beta) at the best threshold."""
    nothing = float(fbeta_from_counts(sweep.hits, sweep.selected, sweep.true, beta).mean())
    best = (np.inf, nothing)
    if not len(sweep.scores):
        return best
    bins = _bins(sweep.scores)
    edges = _coarse_edges(bins, sweep.y)  # ascending bins; the first selects every cell, the last none
    selected, hits = _counts_at_edges(bins, sweep, edges)
    at_edges = fbeta_from_counts(hits, selected, sweep.true, beta).mean(axis=1)
    # Between two edges a group has at most the hits of the lower and at least the selections of the upper.
    bounds = fbeta_from_counts(hits[:-1], np.maximum(selected[1:], hits[:-1]), sweep.true, beta).mean(axis=1)
    for interval in np.flatnonzero(bounds >= at_edges.max() - TIE)[::-1]:
        inside = np.flatnonzero((bins >= edges[interval]) & (bins < edges[interval + 1]))
        if inside.size:
            found = _interval_sweep(sweep, inside, hits[interval + 1], selected[interval + 1], beta)
            best = found if found[1] > best[1] + TIE else best
    return best


def _bins(scores: np.ndarray) -> np.ndarray:
    """(N,) int32 that never falls where the score rises: the upper half of a float32, about 128 bins an octave."""
    lowest = scores.min()
    shifted = scores if lowest >= 0 else scores - lowest
    return np.ascontiguousarray(shifted, dtype=np.float32).view(np.int32) >> 16


def _coarse_edges(bins: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ascending bins that cut all cells and the true ones into parts of about equal numbers, and both ends."""
    top = int(bins.max()) + 1
    parts = [np.bincount(part, minlength=top + 1).cumsum() for part in (bins, bins[y]) if len(part)]
    inner = [np.searchsorted(counts, np.linspace(0, counts[-1], EDGES // 2)) for counts in parts]
    return np.unique(np.clip(np.concatenate([*inner, [bins.min(), top]]), bins.min(), top))


def _counts_at_edges(bins: np.ndarray, sweep: Sweep, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many cells of each group, and how many true ones, are selected at each edge: two (edges, G) int arrays."""
    groups, slots = len(sweep.true), len(edges)
    slot_of_bin = (np.searchsorted(edges, np.arange(edges[-1] + 1), side="right") - 1).astype(np.int32)
    place = slot_of_bin[bins] * np.int32(groups) + sweep.group  # a cell in slot s is selected at the edges 0..s
    counts = (np.bincount(part, minlength=slots * groups).reshape(slots, groups) for part in (place, place[sweep.y]))
    every, true = (part[::-1].cumsum(axis=0)[::-1] for part in counts)
    return every + sweep.selected, true + sweep.hits


def _interval_sweep(
    sweep: Sweep, inside: np.ndarray, hits: np.ndarray, selected: np.ndarray, beta: float
) -> tuple[float, float]:
    """The best (lowest selected score, F-beta) among the scores of some cells.

    inside: indices of the cells; hits, selected: (G,) with all higher cells selected.
    """
    order = np.lexsort((-sweep.scores[inside], sweep.group[inside]))
    inside = inside[order]
    group, value, hit = sweep.group[inside], sweep.scores[inside], sweep.y[inside]
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    owner = np.cumsum(np.append(True, group[1:] != group[:-1])) - 1
    running = np.cumsum(hit)
    hits_now = hits[group] + running - (running[first] - hit[first])[owner]
    selected_now = selected[group] + np.arange(1, len(group) + 1) - first[owner]
    true = sweep.true[group]
    after = fbeta_from_counts(hits_now, selected_now, true, beta)
    before = fbeta_from_counts(hits_now - hit, selected_now - 1, true, beta)
    down = np.argsort(-value, kind="stable")
    start = fbeta_from_counts(hits, selected, sweep.true, beta).sum()
    curve = (start + np.cumsum((after - before)[down])) / len(sweep.true)
    value = value[down]
    last = np.flatnonzero(np.append(value[1:] != value[:-1], True))  # tied scores are selected together
    best = last[curve[last].argmax()]
    return float(value[best]), float(curve[best])


def _micro_sweep(sweep: Sweep, beta: float) -> tuple[float, float]:
    """(lowest selected score or inf, F-beta of the pooled counts) at the best threshold."""
    hits, selected, true = sweep.hits.sum(), sweep.selected.sum(), sweep.true.sum()
    order = np.argsort(-sweep.scores, kind="stable")
    value = np.append(np.inf, sweep.scores[order])
    last = np.flatnonzero(np.append(value[1:] != value[:-1], True))
    hits_now = hits + np.append(0, np.cumsum(sweep.y[order]))[last]
    curve = fbeta_from_counts(hits_now, selected + last, true, beta)
    return float(value[last[curve.argmax()]]), float(curve.max())


def _midway(scores: np.ndarray, lowest: float) -> float:
    """A threshold between the lowest selected score and the next lower one; above all scores for inf."""
    if not len(scores):
        return 0.5
    if np.isinf(lowest):  # nothing but the forced labels is selected
        return float(scores.max()) + 1.0
    below = scores[scores < lowest]
    if not len(below):
        return lowest - 1e-6 * abs(lowest)
    middle = (lowest + float(below.max())) / 2
    return middle if scores.dtype.type(middle) > below.max() else lowest  # neighbours have no number between them
