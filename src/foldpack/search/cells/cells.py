"""The members' predictions as cells: one column of numbers for every (item, class) that matters.

With every class of every item kept this is a reshaped dense stack. The compact store (`compact.py`) keeps only the
cells in which some member sees something, and all true ones; every fit and fast score works on both alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from foldpack.errors import DataError

# What the truth is: one class an item; any number of classes an item; a real value (or grade) an item.
Kind = Literal["exclusive", "labels", "values"]


@dataclass(frozen=True)
class Cells:
    """N cells of `items` x `classes`, sorted by item, then by class.

    values: (M, N) float32, every member's probability (or value); row, column: (N,) int32; targets: (items,) int64
    for "exclusive", (items, classes) bool for "labels", (items,) float64 for "values"; y: (N,) bool, the truth of a
    cell (not for "values"); full: every cell is there; groups: (items,) what belongs together, or None;
    floor: no member's probability in a dropped cell is above it; each_best: whether each member's best classes of every
    item were kept; weights: (items,) float64, how much each counts in a mean average precision, or None.
    """

    kind: Kind
    values: np.ndarray
    row: np.ndarray
    column: np.ndarray
    items: int
    classes: int
    targets: np.ndarray
    full: bool
    groups: np.ndarray | None = None
    floor: float = 0.0
    each_best: bool = True
    weights: np.ndarray | None = None

    @property
    def members(self) -> int:
        return self.values.shape[0]

    @cached_property
    def y(self) -> np.ndarray:
        if self.kind == "exclusive":
            return self.column == self.targets[self.row]
        if self.full:
            return self.targets.reshape(-1).astype(bool)
        return self.targets[self.row, self.column]

    @cached_property
    def starts(self) -> np.ndarray:
        """(items,) first cell of every item; every item has at least one cell."""
        return np.searchsorted(self.row, np.arange(self.items))

    @cached_property
    def true_counts(self) -> np.ndarray:
        """(items,) number of true labels, dropped cells included ("labels")."""
        return self.targets.reshape(self.items, -1).sum(axis=1)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """(classes,) number of true items, dropped cells included ("labels")."""
        return self.targets.reshape(self.items, -1).sum(axis=0)

    def dense(self, blend: np.ndarray) -> np.ndarray:
        """(N,) numbers -> (items, classes), or (items,) with one class; dropped cells become 0."""
        if self.full:
            table = blend.reshape(self.items, self.classes)
        else:
            table = np.zeros((self.items, self.classes), dtype=blend.dtype)
            table[self.row, self.column] = blend
        return table[:, 0] if self.classes == 1 else table

    def take_items(self, chosen: np.ndarray) -> Cells:
        """The cells of some items. chosen: (items,) bool."""
        kept = np.repeat(chosen, self.classes) if self.full else chosen[self.row]
        number = np.cumsum(chosen) - 1
        return Cells(
            self.kind,
            self.values[:, kept],
            number[self.row[kept]].astype(np.int32),
            self.column[kept],
            int(chosen.sum()),
            self.classes,
            self.targets[chosen],
            self.full,
            None if self.groups is None else self.groups[chosen],
            self.floor,
            self.each_best,
            None if self.weights is None else self.weights[chosen],
        )

    def take_members(self, chosen: np.ndarray) -> Cells:
        """The same cells with some members only. chosen: (M,) bool or member indices."""
        return replace(self, values=self.values[chosen])

    def with_values(self, values: np.ndarray) -> Cells:
        """The same cells with other numbers in them. values: (M', N)."""
        return replace(self, values=values)


def dense_cells(predictions: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None) -> Cells:
    """Every cell of a dense stack.

    predictions: (M, n, C) float, or (M, n) for one number an item; targets: (n,) integer classes (with C > 1),
    (n, C) bool, (n,) bool (with one number an item), or (n,) float. Raises DataError when shapes do not fit.
    """
    stack = predictions[..., None] if predictions.ndim == 2 else predictions
    members, items, classes = stack.shape
    targets = np.asarray(targets)
    kind: Kind
    if targets.dtype == bool:
        kind = "labels"
        targets = targets[:, None] if targets.ndim == 1 else targets
        fits = targets.shape == (items, classes)
    elif np.issubdtype(targets.dtype, np.integer) and classes > 1:
        kind, fits = "exclusive", targets.shape == (items,)
        targets = targets.astype(np.int64)
    else:
        kind, fits = "values", targets.shape == (items,) and classes == 1
        targets = targets.astype(np.float64)
    if not fits:
        raise DataError(
            f"the labels have shape {targets.shape} and the predictions {stack.shape[1:]}: labels must be (n,) class "
            "numbers or (n, C) 0/1 for (n, C) predictions, or (n,) for (n,)"
        )
    row = np.repeat(np.arange(items, dtype=np.int32), classes)
    column = np.tile(np.arange(classes, dtype=np.int32), items)
    values = np.ascontiguousarray(stack, dtype=np.float32).reshape(members, -1)
    return Cells(kind, values, row, column, items, classes, targets, True, groups)
