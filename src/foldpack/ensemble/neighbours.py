"""Retrieval: how near a query is to every identity of a gallery, by exact cosine similarity, in bounded memory."""

from __future__ import annotations

import numpy as np

BLOCK_SIMILARITIES = 1 << 24  # of queries with gallery items that are in memory at a time: 64 MiB


def identity_scores(
    queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray, classes: int, neighbours: int = 1,
    none: bool = False, block: int = BLOCK_SIMILARITIES
) -> np.ndarray:
    """(n, classes) float32 in [0, 1]: (1 + s) / 2, s the mean cosine of an identity's nearest gallery items.

    queries: (n, D) and gallery: (m, D) float32 of length 1; labels: (m,) int, the identity of each gallery item;
    neighbours: how many items of an identity count, at most those that it has. An identity without any item scores 0. A
    query of NaN scores NaN. none: the last class is no identity; all queries score the same there, so that a blend does
    not see it. block: similarities in memory at a time.
    """
    order = np.argsort(labels, kind="stable")
    sorted_items = gallery[order]
    present, starts = np.unique(labels[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    scores = np.zeros((len(queries), classes), dtype=np.float32)
    rows = max(1, block // max(1, len(gallery)))
    for first in range(0, len(queries), rows):
        part = slice(first, first + rows)
        cosines = queries[part] @ sorted_items.T
        for identity, start, end in zip(present, starts, ends, strict=True):
            scores[part, identity] = mean_of_highest(cosines[:, start:end], neighbours)
        scores[part, present] = np.clip((1 + scores[part, present]) / 2, 0, 1)
    if none:
        scores[:, -1] = 1 / classes
    return scores


def mean_of_highest(cosines: np.ndarray, count: int) -> np.ndarray:
    """(rows, items) -> (rows,): the mean of the `count` highest of each row, or of all where there are fewer."""
    if count == 1:
        return cosines.max(axis=1)
    if cosines.shape[1] > count:
        cosines = np.partition(cosines, -count, axis=1)[:, -count:]
    return cosines.mean(axis=1)
