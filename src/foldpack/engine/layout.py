"""How large the rows of a unit will be: what the store reserves before the first is there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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


@dataclass(frozen=True)
class Ragged:
    """Columns that grow with what is found: one file a shard."""

    rows: int  # images
    entry_bytes: int  # bytes of one entry, all columns together
    most: int  # entries of a row


Layout = Dense | Ragged
