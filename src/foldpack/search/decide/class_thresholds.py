"""One threshold for each class. Exact for the macro average, whose classes do not touch; else one class at a time."""

from __future__ import annotations

import numpy as np

from foldpack.metrics.fbeta import fbeta_from_counts
from foldpack.search.cells.cells import Cells

SWEEPS = 3  # over all classes; later ones change next to nothing


def best_class_thresholds(
    cells: Cells, blend: np.ndarray, beta: float, average: str, start: float, sweeps: int = SWEEPS
) -> np.ndarray:
    """(C,) thresholds, from one common start; each class in turn takes its exact best with the others held.

    Least and most numbers of labels are not looked at here. A class moves only for a true gain, so a class without
    a true cell keeps the start.
    """
    thresholds = np.full(cells.classes, start)
    order = np.lexsort((-blend, cells.column))
    parts = np.split(order, np.cumsum(np.bincount(cells.column, minlength=cells.classes))[:-1])
    taken = blend >= start
    hits, selected, true = _counts(cells, taken, average)
    for _ in range(1 if average == "macro" else sweeps):
        moved = False
        for column, part in enumerate(parts):
            if not cells.y[part].any():
                continue
            group = _group(cells, part, column, average)
            np.subtract.at(hits, group, taken[part] & cells.y[part])
            np.subtract.at(selected, group, taken[part])
            curve, ends = _class_curve(blend[part], cells.y[part], group, hits, selected, true, beta, average)
            best = int(curve.argmax())
            now = np.searchsorted(ends, np.count_nonzero(taken[part]))
            if curve[best] > curve[now] + 1e-9:
                taken[part] = np.arange(len(part)) < ends[best]
                thresholds[column] = _between(blend[part], ends[best])
                moved = True
            np.add.at(hits, group, taken[part] & cells.y[part])
            np.add.at(selected, group, taken[part])
        if not moved:
            break
    return thresholds


def _counts(cells: Cells, taken: np.ndarray, average: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hits, selected, true) of each group: items, classes, or one group of everything."""
    if average == "micro":
        return (
            np.array([np.count_nonzero(taken & cells.y)]),
            np.array([np.count_nonzero(taken)]),
            np.array([cells.true_counts.sum()]),
        )
    group, groups = (cells.column, cells.classes) if average == "macro" else (cells.row, cells.items)
    true = cells.class_counts if average == "macro" else cells.true_counts
    return np.bincount(group[taken & cells.y], minlength=groups), np.bincount(group[taken], minlength=groups), true


def _group(cells: Cells, part: np.ndarray, column: int, average: str) -> np.ndarray:
    if average == "samples":
        return cells.row[part]
    return np.full(len(part), column if average == "macro" else 0)


def _class_curve(score, y, group, hits, selected, true, beta: float, average: str) -> tuple[np.ndarray, np.ndarray]:
    """(change of the summed F-beta, number of cells taken) for every way to cut one class's descending scores.

    hits, selected: of the groups without this class.
    """
    ends = np.append(0, np.flatnonzero(np.append(score[1:] != score[:-1], True)) + 1)
    if average == "samples":  # every cell is in another group: changes add up
        now, after = hits[group], selected[group]
        change = fbeta_from_counts(now + y, after + 1, true[group], beta)
        change -= fbeta_from_counts(now, after, true[group], beta)
        return np.append(0.0, np.cumsum(change))[ends], ends
    here = group[0]
    hits_now = hits[here] + np.append(0, np.cumsum(y))[ends]
    return fbeta_from_counts(hits_now, selected[here] + ends, true[here], beta), ends


def _between(score: np.ndarray, taken: int) -> float:
    """A threshold that takes the first `taken` of the descending scores."""
    if taken == 0:
        return float(score[0]) + 1.0
    if taken == len(score):
        return float(score[-1])
    middle = (float(score[taken - 1]) + float(score[taken])) / 2
    return middle if score.dtype.type(middle) > score[taken] else float(score[taken - 1])
