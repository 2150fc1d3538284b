"""The compact store: from more predictions than memory holds to the cells that can matter, in one pass.

Kept are the cells in which some member's probability is above a floor, each member's best classes of every item (or,
where members agree so little that these fill the store, the best of their mean), and all true cells. Whatever a blend
of dropped cells can reach is bounded by the blend of the floor itself, so a threshold above that bound gives the very
same decisions as all cells would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foldpack.ensemble.thresholds import top_classes
from foldpack.search.cells.cells import Cells, Kind, dense_cells

# (first row, end row) -> one member's (rows, C) float32 probabilities
Stream = Callable[[int, int], np.ndarray]

STORE_BYTES = 256 << 20  # of all kept numbers; fits and copies need about four times as much
SAMPLE_ITEMS = 512  # the floor is set on so many evenly spaced items
BEST = 3  # classes of every member and item that are always kept
FEW = 5  # of so few classes the best of every item would fill the store, and leave no room below the floor
BLOCK_BYTES = 48 << 20  # of all members' predictions for one block of rows


def compact_cells(
    streams: list[Stream],
    targets: np.ndarray,
    classes: int,
    groups: np.ndarray | None = None,
    store_bytes: int = STORE_BYTES,
    progress: Callable[[float], None] | None = None,
) -> Cells:
    """Stream all members once. A store that all cells fit into keeps them all; so does any of `FEW` classes.

    streams: one a member; targets: (n,) int or (n, C) bool; store_bytes: for the kept float32 numbers.
    """
    items, members = len(targets), len(streams)
    kind: Kind = "labels" if targets.ndim == 2 else "exclusive"
    most_cells = store_bytes // (4 * members)
    if items * classes <= most_cells or classes <= FEW:
        return dense_cells(np.stack([stream(0, items) for stream in streams]), targets, groups)
    floor, each = sampled_floor(streams, items, classes, most_cells)
    per_block = max(1, BLOCK_BYTES // (4 * members * classes))
    rows, columns, values = [], [], []
    for first in range(0, items, per_block):
        end = min(first + per_block, items)
        block = np.stack([stream(first, end) for stream in streams])
        row, column = np.nonzero(kept_cells(block, targets[first:end], floor, each))
        rows.append((row + first).astype(np.int32))
        columns.append(column.astype(np.int32))
        values.append(block[:, row, column].astype(np.float32))
        if progress:
            progress(end / items)
    return Cells(kind, _joined(values), np.concatenate(rows), np.concatenate(columns), items, classes, targets, False,
                 groups, floor, each)


def kept_cells(block: np.ndarray, targets: np.ndarray, floor: float, each: bool = True) -> np.ndarray:
    """(rows, C) bool: which cells to keep. block: (M, rows, C); targets: of these rows; each: see `best_cells`."""
    kept = (block.max(axis=0) > floor) | best_cells(block, each)
    if targets.ndim == 2:
        return kept | targets
    kept[np.arange(len(targets)), targets] = True
    return kept


def best_cells(block: np.ndarray, each: bool) -> np.ndarray:
    """(rows, C) bool: the best classes of each member, or of the members' mean. block: (M, rows, C)."""
    best = np.zeros(block.shape[1:], dtype=bool)
    for table in block if each else [block.mean(axis=0)]:
        np.put_along_axis(best, top_classes(table, BEST), True, axis=1)
    return best


def sampled_floor(streams: list[Stream], items: int, classes: int, most_cells: int) -> tuple[float, bool]:
    """(the floor that keeps about 0.8 of `most_cells`, whether each member's best classes take less than half of that).

    Both from evenly spaced items.
    """
    chosen = range(0, items, max(1, items // SAMPLE_ITEMS))
    sample = np.concatenate([np.stack([stream(row, row + 1) for stream in streams]) for row in chosen], axis=1)
    room = 0.8 * most_cells / items * len(chosen)
    each = bool(np.count_nonzero(best_cells(sample, True)) <= room / 2)
    best = best_cells(sample, each)
    others = sample.max(axis=0)[~best]
    share = min(1.0, max(room - np.count_nonzero(best), 0.0) / len(others))
    return float(np.quantile(others, 1 - share)), each


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Blocks side by side; each is let go as soon as it is copied."""
    whole = np.empty((len(parts[0]), sum(part.shape[1] for part in parts)), dtype=np.float32)
    at = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        whole[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return whole
