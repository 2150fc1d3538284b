"""How large the rows of a unit will be: what the store reserves before the first is there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldpack.data.rows import Rows


@dataclass(frozen=True)
class ColumnKind:
    """Type and shape of one entry of a column."""

    dtype: str  # as numpy names it
    shape: tuple[int, ...] = ()

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Dense:
    """Columns whose length is known beforehand: their room is reserved, and rows are written in their place."""

    rows: int  # images
    columns: dict[str, ColumnKind]
    starts: np.ndarray | None = None  # (rows + 1,) int64: the entries of each row; None: one a row

    @property
    def entries(self) -> int:
        """Entries of all rows together."""
        return self.rows if self.starts is None else int(self.starts[-1])

    @property
    def unit_bytes(self) -> int:
        """Of all rows, with a mark for each that is lost."""
        return self.rows + self.entries * sum(kind.entry_bytes for kind in self.columns.values())

    def entry(self, row: int) -> int:
        """Where the entries of a row begin."""
        return row if self.starts is None else int(self.starts[row])

    def fits(self, rows: Rows) -> bool:
        """Whether these are rows of this layout, all of them."""
        wanted = {name: ((self.entries, *kind.shape), np.dtype(kind.dtype)) for name, kind in self.columns.items()}
        got = {name: (column.shape, column.dtype) for name, column in rows.columns.items()}
        return len(rows) == self.rows and got == wanted


@dataclass(frozen=True)
class Ragged:
    """Columns that grow with what is found: one file a shard."""

    rows: int  # images
    entry_bytes: int  # bytes of one entry, all columns together
    most: int  # entries of a row

    @property
    def unit_bytes(self) -> int:
        """Of all rows, if each has as much as it may."""
        return self.rows * (16 + self.most * self.entry_bytes)

    def fits(self, rows: Rows) -> bool:
        """Whether these are rows of this layout, all of them."""
        return len(rows) == self.rows and rows.starts is not None


Layout = Dense | Ragged
