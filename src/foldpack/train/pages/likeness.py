"""The nearest items of a query's own identity, and of others, and which queries are worst. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldpack.ensemble.retrieve.nearest import row_parts
from foldpack.ensemble.thresholds import top_classes
from foldpack.train.pages.neighbours import FoldSpace

BLOCK = 1 << 22  # cosines in memory at a time


@dataclass(frozen=True, eq=False)
class Likeness:
    """What lies nearest to some queries.

    right, wrong: (q, k) int places in the gallery, nearest first, of the query's identity and of others, -1 where there
    are no more; their cosines: (q, k) float32, NaN there. rank: (q,) int, how many items are nearer than the nearest
    right one; -1 where there is none.
    """

    right: np.ndarray
    right_cosines: np.ndarray
    wrong: np.ndarray
    wrong_cosines: np.ndarray
    rank: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """(q,) float32: by how much the nearest right item is nearer than the nearest wrong one; NaN without one of
        them."""
        return self.right_cosines[:, 0] - self.wrong_cosines[:, 0]


def compare(space: FoldSpace, truth: np.ndarray, count: int, block: int = BLOCK) -> Likeness:
    """truth: (q,) int identities of the queries; count: nearest items of each kind; block: cosines in memory."""
    shape = len(truth), count
    right, wrong = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    right_cosines, wrong_cosines = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    rank = np.full(len(truth), -1, np.int64)
    for rows in row_parts(np.arange(len(truth)), len(space.gallery), block):
        cosines = space.vectors[rows] @ space.gallery.T
        own = space.identities[None] == truth[rows, None]
        for places, nearest, kind in ((right, right_cosines, own), (wrong, wrong_cosines, ~own)):
            some = np.where(kind, cosines, -np.inf)
            best = top_classes(some, count)[:, :count]
            found = np.take_along_axis(some, best, axis=1)
            there = np.isfinite(found)
            places[rows, : best.shape[1]] = np.where(there, best, -1)
            nearest[rows, : best.shape[1]] = np.where(there, found, np.nan)
        nearer = (cosines > right_cosines[rows, :1]).sum(axis=1)
        rank[rows] = np.where(own.any(axis=1), nearer, -1)
    return Likeness(right, right_cosines, wrong, wrong_cosines, rank)


def recalls(rank: np.ndarray, ks: Sequence[int]) -> list[float]:
    """Share of queries with an item of their identity among the k nearest, for each k, as
    `recall_of_items`: those whose identity the gallery does not have are left out; NaN where all are."""
    there = rank[rank >= 0]
    return [float((there < k).mean()) if len(there) else float("nan") for k in ks]


def worst_first(likeness: Likeness) -> np.ndarray:
    """(j,) int: the queries that the gallery can answer, that with the lowest margin first."""
    known = np.flatnonzero((likeness.rank >= 0) & (likeness.wrong[:, 0] >= 0))
    return known[np.argsort(likeness.margin[known], kind="stable")]


def false_friends(likeness: Likeness) -> np.ndarray:
    """(j,) int: the queries whose identity the gallery does not have, that which looks most like another first."""
    unknown = np.flatnonzero(likeness.rank < 0)
    return unknown[np.argsort(-likeness.wrong_cosines[unknown, 0], kind="stable")]
