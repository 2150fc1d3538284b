"""Near-duplicates: rows that are close to each other, found block by block, and the groups that they make.

All pairs are compared, exactly and in bounded memory: no index that may miss one. Close rows are chained: if a is near
b and b near c, all three are one group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BLOCK = 256  # rows compared at a time
WIDTH = 8192  # with so many others
KEPT = 1000  # joined pairs that are remembered

Near = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows i, rows j, their distances; all (k,)
Report = Callable[[float], None]  # gets the share done


@dataclass(frozen=True)
class Link:
    """Two rows that were joined, and how far they are apart."""

    first: int
    second: int
    distance: float


class Grouping:
    """Joins rows into groups; remembers the joined pairs that are farthest apart."""

    def __init__(self, rows: int) -> None:
        self.labels = np.arange(rows)  # (rows,) int64: group of each row, any numbers
        self.links: list[Link] = []  # the farthest `KEPT`, farthest first

    def join(self, near: Near) -> None:
        """Rows near[0] and near[1] share a group from now on."""
        first, second, distance = near
        if not len(first):
            return
        size = int(self.labels.max()) + 1
        edges = coo_array((np.ones(len(first), dtype=bool), (self.labels[first], self.labels[second])), (size, size))
        self.labels = connected_components(edges, directed=False)[1][self.labels]
        far = np.argsort(-distance, kind="stable")[:KEPT]
        links = self.links + [Link(int(first[k]), int(second[k]), float(distance[k])) for k in far]
        self.links = sorted(links, key=lambda link: -link.distance)[:KEPT]

    def examples(self, count: int) -> list[Link]:
        """The farthest pairs, one of each group, at most `count`."""
        of_group: dict[int, Link] = {}
        for link in self.links:
            of_group.setdefault(int(self.labels[link.first]), link)
        return list(of_group.values())[:count]

    def numbers(self) -> np.ndarray:
        """(rows,) int64: groups numbered from 0 in the order of their first rows."""
        _, first, of_row = np.unique(self.labels, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[of_row]


def near_hashes(hashes: np.ndarray, most: int, report: Report) -> Iterator[Near]:
    """Every pair of rows whose hashes differ in at most `most` bits; equal ones only with the first of their kind.

    hashes: (n, words) uint64. Yields pairs with distances in bits.
    """
    kinds, first, kind_of = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    kind_of = kind_of.ravel()
    again = np.flatnonzero(first[kind_of] != np.arange(len(hashes)))
    yield first[kind_of[again]], again, np.zeros(len(again))

    def distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        total = np.zeros((len(rows), len(others)), dtype=np.uint16)
        for word in range(kinds.shape[1]):
            total += np.bitwise_count(rows[:, None, word] ^ others[None, :, word])
        return total

    for i, j, distance in _close(kinds, distances, most, report):
        yield first[i], first[j], distance


def near_vectors(vectors: np.ndarray, similarity: float, report: Report) -> Iterator[Near]:
    """Every pair of rows whose cosine is at least `similarity`. vectors: (n, D) float32 of length 1.

    Yields pairs with the distances 1 - cosine.
    """
    return _close(vectors, lambda rows, others: 1 - rows @ others.T, 1 - similarity, report)


def _close(values: np.ndarray, distances: Callable[[np.ndarray, np.ndarray], np.ndarray], most: float,
           report: Report) -> Iterator[Near]:
    """Pairs i < j of rows at most `most` apart, a block of rows at a time."""
    total = len(values)
    for start in range(0, total, BLOCK):
        rows = values[start : start + BLOCK]
        for begin in range(start, total, WIDTH):
            apart = distances(rows, values[begin : begin + WIDTH])
            i, j = np.nonzero(apart <= most)
            keep = i + start < j + begin
            yield i[keep] + start, j[keep] + begin, apart[i[keep], j[keep]].astype(np.float64)
        left = (total - min(total, start + BLOCK)) / total
        report(1 - left**2)
