"""k-reciprocal re-ranking (Zhong et al. 2017, arXiv 1701.08398), in sparse form.

Items are alike when they are near and have the same neighbours. All queries and all gallery items are looked at
together, so an answer depends on the other queries.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, csr_array, vstack

from foldpack.ensemble.retrieve.nearest import BLOCK_SIMILARITIES, Nearest, nearest_items, row_parts
from foldpack.settings.retrieve import Rerank

BLOCK_ROWS = 4096  # of sparse products, at a time


class Reranked:
    """What is known of queries and a gallery together; `similarities` of some queries are made of it.

    The distance is (1 - own) J + own d: d the squared Euclidean distance divided by that of the item which is farthest
    from the query, J the Jaccard distance of the neighbourhoods. Both are in [0, 1].
    """

    def __init__(self, queries: np.ndarray, gallery: np.ndarray, settings: Rerank) -> None:
        """queries: (n, D) and gallery: (m, D) float32 of length 1, all finite."""
        self.settings = settings
        self.queries, self.gallery = queries, gallery
        everyone = np.concatenate([queries, gallery])
        near = nearest_items(everyone, everyone, max(settings.k1 + 1, settings.k2), farthest=True)
        self.farthest = np.maximum(2 - 2 * near.lowest, np.float32(1e-12))
        shares = neighbourhood_shares(everyone, near, self.farthest, settings.k1)
        if settings.k2 > 1:
            shares = mean_shares(near.places[:, : settings.k2], shares)
        self.of_queries: csr_array = shares[: len(queries)]
        self.of_gallery: csc_array = shares[len(queries) :].tocsc()

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        """(r, m) float32 in [0, 1]: 1 - distance of some queries to all gallery items. rows: (r,) int."""
        distances = (2 - 2 * (self.queries[rows] @ self.gallery.T)) / self.farthest[rows, None]
        shared = np.stack([self.shared_with(row) for row in rows.tolist()])
        jaccard = 1 - shared / (2 - shared)
        own = np.float32(self.settings.own)
        return 1 - np.clip((1 - own) * jaccard + own * distances, 0, 1)

    def shared_with(self, query: int) -> np.ndarray:
        """(m,) float32: the sum over all items of the smaller share, of the query's and of each gallery item's."""
        table, first, end = self.of_gallery, self.of_queries.indptr[query], self.of_queries.indptr[query + 1]
        columns, shares = self.of_queries.indices[first:end], self.of_queries.data[first:end]
        starts, ends = table.indptr[columns], table.indptr[columns + 1]
        sizes = ends - starts
        if not sizes.sum():
            return np.zeros(table.shape[0], np.float32)
        cells = np.repeat(starts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(sizes.sum())
        smaller = np.minimum(np.repeat(shares, sizes), table.data[cells])
        return np.bincount(table.indices[cells], smaller, table.shape[0]).astype(np.float32)


def neighbourhood_shares(vectors: np.ndarray, near: Nearest, farthest: np.ndarray, k1: int) -> csr_array:
    """(N, N) sparse: the neighbourhood of each item, weights exp(-distance) that sum to 1.

    It is those that are among the k1 + 1 nearest of one another, and the like of k1 / 2 of each of these, where more
    than two thirds of that one's lie in the item's own already.
    """
    whole, half = mutual(near.places[:, : k1 + 1]), mutual(near.places[:, : int(np.around(k1 / 2)) + 1])
    half_sizes, parts = np.diff(half.indptr), []
    for first in range(0, len(vectors), BLOCK_ROWS):
        part = whole[first : first + BLOCK_ROWS]
        common = (part @ half.T).multiply(part).tocsr()
        common.data = (3 * common.data > 2 * half_sizes[common.indices]).astype(np.int32)
        grown = (part + common @ half).tocsr()
        grown.eliminate_zeros()
        grown.sort_indices()
        parts.append(weigh_neighbours(grown, vectors, first, farthest))
    return vstack(parts, format="csr")


def mutual(places: np.ndarray) -> csr_array:
    """(N, N) sparse of ones: which items are among the nearest of one another. places: (N, k) int."""
    count, width = places.shape
    near = csr_array((np.ones(places.size, np.int32), places.reshape(-1), np.arange(count + 1) * width),
                     shape=(count, count))
    return near.multiply(near.T).tocsr()


def weigh_neighbours(chosen: csr_array, vectors: np.ndarray, first: int, farthest: np.ndarray) -> csr_array:
    """Some rows of neighbours -> exp(-distance / that of the farthest item), each row divided by its sum."""
    rows = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr)) + first
    cosines = np.empty(len(rows), np.float32)
    for part in row_parts(np.arange(len(rows)), vectors.shape[1], BLOCK_SIMILARITIES):
        cosines[part] = np.einsum("nd,nd->n", vectors[rows[part]], vectors[chosen.indices[part]])
    weights = np.exp(-(2 - 2 * cosines) / farthest[rows])
    sums = np.bincount(rows - first, weights, chosen.shape[0])
    return csr_array(((weights / sums[rows - first]).astype(np.float32), chosen.indices, chosen.indptr), chosen.shape)


def mean_shares(places: np.ndarray, shares: csr_array) -> csr_array:
    """The mean of the neighbourhoods of each item's nearest ones. places: (N, k2) int, itself among them."""
    count, width = places.shape
    mean = np.full(places.size, 1 / width, np.float32)
    near = csr_array((mean, places.reshape(-1), np.arange(count + 1) * width), shape=(count, count))
    return vstack([near[first : first + BLOCK_ROWS] @ shares for first in range(0, count, BLOCK_ROWS)], format="csr")
