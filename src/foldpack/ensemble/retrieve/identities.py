"""From similarities with the items of a gallery to a number for each identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from foldpack.settings.retrieve import Retrieval


@dataclass(frozen=True, eq=False)
class IdentityBlock:
    """Some items of an ordered gallery, of whole identities. segments: (items of an identity, how many identities have
    so many), in the order of the items; columns: (g,) int, their places among the identities that have any."""

    first: int
    end: int
    segments: list[tuple[int, int]]
    columns: np.ndarray


class IdentityOrder:
    """The items of a gallery, ordered by how many their identity has, then by identity: those of one size are a table.

    order: (m,) int, the item at each place; present: (P,) int, the identities that have any, ascending.
    """

    def __init__(self, identities: np.ndarray) -> None:
        """identities: (m,) int of 0 or more, one an item."""
        self.present, kind, sizes = np.unique(identities, return_inverse=True, return_counts=True)
        self.order = np.lexsort((kind, sizes[kind]))
        self._columns = np.argsort(sizes, kind="stable")
        self._sizes = sizes[self._columns]

    def blocks(self, most: int) -> Iterator[IdentityBlock]:
        """All items in blocks of whole identities, each of at most `most` items where no identity has more."""
        ends = np.cumsum(self._sizes)
        at = first = 0
        while at < len(ends):
            stop = max(at + 1, int(np.searchsorted(ends, first + most, side="right")))
            sizes, counts = np.unique(self._sizes[at:stop], return_counts=True)
            segments = list(zip(sizes.tolist(), counts.tolist(), strict=True))
            yield IdentityBlock(first, int(ends[stop - 1]), segments, self._columns[at:stop])
            at, first = stop, int(ends[stop - 1])


def pool_block(similar: torch.Tensor, block: IdentityBlock, settings: Retrieval) -> np.ndarray:
    """(rows, g) float32: the mean similarity of the nearest items of each identity of a block, in its order.

    similar: (rows, items of the block). Weighed alike, or by the softmax of similarity / temperature.
    """
    parts, at = [], 0
    for size, identities in block.segments:
        table = similar[:, at : at + size * identities].unflatten(1, (identities, size))
        parts.append(mean_of_nearest(table, settings))
        at += size * identities
    return torch.cat(parts, dim=1).cpu().numpy()


def mean_of_nearest(similar: torch.Tensor, settings: Retrieval) -> torch.Tensor:
    """(rows, g, items) -> (rows, g): of all items where there are fewer than `neighbours`."""
    if settings.neighbours == 1 or similar.shape[2] == 1:
        return similar.amax(dim=2)
    nearest = similar.topk(min(settings.neighbours, similar.shape[2]), dim=2).values
    if settings.softmax is None:
        return nearest.mean(dim=2)
    return ((nearest / settings.softmax).softmax(dim=2) * nearest).sum(dim=2)


def identity_centres(vectors: np.ndarray, order: IdentityOrder, identities: np.ndarray) -> np.ndarray:
    """(P, D) float32: the direction of the mean of each identity's vectors, in the order of `order.present`."""
    by_identity = np.argsort(identities, kind="stable")
    starts = np.searchsorted(identities[by_identity], order.present)
    return unit_rows(np.add.reduceat(vectors[by_identity], starts, axis=0))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(n, D) float32 -> the same of length 1; a vector of length 0 stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
