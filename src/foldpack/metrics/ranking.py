"""Scores of ranked lists: mean average precision and recall at k, as Kaggle defines them.

In every list only the first k places count, all of them with k=None. -1 is an empty place, and never a hit. An id that
is listed twice counts once, and its second mention still takes up a place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.metrics.shapes import descending


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """(n, C) scores -> (n, k) int64 columns, best first; equal scores keep column order."""
    return np.argsort(descending(scores), axis=1, kind="stable")[:, :k]


def map_at_k(y: np.ndarray, ranked: np.ndarray, k: int | None = None) -> float:
    """Mean of 1/rank of the one true id, 0 when it is not in the list (Kaggle's MAP@k with one answer an item).

    y: (n,) int true ids; ranked: (n, places) int ids, best first. Raises FoldpackError for other shapes or k below 1.
    """
    return float(precision_of_one(y, ranked, k).mean())


def precision_of_one(y: np.ndarray, ranked: np.ndarray, k: int | None = None) -> np.ndarray:
    """(n,) float64: 1/rank of the one true id of each item, 0 when it is not in the list. Shapes as in `map_at_k`."""
    hit = hits_of_one(y, ranked, k)
    return np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0.0)


def multi_map_at_k(relevant: np.ndarray, ranked: np.ndarray, k: int | None = None) -> float:
    """Mean average precision at k when an item may have many right answers.

    relevant: (n, C) bool; ranked: (n, places) int columns, best first. Each item's sum of precisions at its hits is
    divided by min(number relevant, k); an item with nothing relevant scores 0, as in Kaggle's own script. Raises
    FoldpackError for other shapes or k below 1.
    """
    ranked, k = first_places(ranked, k)
    if relevant.ndim != 2 or len(relevant) != len(ranked):
        raise FoldpackError(f"the right answers have shape {relevant.shape}, the lists {ranked.shape}; needed: (n, C) "
                            "and (n, places)")
    hit = np.take_along_axis(relevant.astype(bool), np.maximum(ranked, 0), axis=1) & (ranked >= 0) & ~repeated(ranked)
    precision = np.cumsum(hit, axis=1) / np.arange(1, ranked.shape[1] + 1)
    most = np.minimum(np.count_nonzero(relevant, axis=1), k)
    return float(((precision * hit).sum(axis=1) / np.maximum(most, 1)).mean())


def recall_at_k(y: np.ndarray, ranked: np.ndarray, k: int | None = None) -> float:
    """Share of items whose true id is in their list. Shapes as in `map_at_k`."""
    return float(hits_of_one(y, ranked, k).any(axis=1).mean())


def recall_of_items(y: np.ndarray, found: np.ndarray, gallery: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """Recall@k of metric learning, for each k: the share of queries with an item of their own identity among the k
    nearest. Queries whose identity the gallery does not have are left out; NaN where all are.

    y: (n,) int identities of queries; found: (n, places) int identities of their nearest items, nearest first;
    gallery: (m,) int identities of all items. Other than in `recall_at_k`, the k nearest may be of one identity.
    """
    there = np.isin(y, gallery)
    hit = found[there] == y[there, None]
    return {k: float(hit[:, :k].any(axis=1).mean()) if there.any() else float("nan") for k in ks}


def hits_of_one(y: np.ndarray, ranked: np.ndarray, k: int | None) -> np.ndarray:
    """(n, at most k) bool: the places that hold the one true id."""
    ranked, _ = first_places(ranked, k)
    if y.shape != (len(ranked),):
        raise FoldpackError(f"the true ids have shape {y.shape}, the lists {ranked.shape}; needed: (n,) and (n, "
                            "places)")
    return (ranked == y[:, None]) & (ranked != -1)


def first_places(ranked: np.ndarray, k: int | None) -> tuple[np.ndarray, int]:
    """(the first k columns, k). Raises FoldpackError for lists that are not (n, places) ids, or k below 1."""
    if ranked.ndim != 2 or (k is not None and k < 1):
        raise FoldpackError(f"lists of shape {ranked.shape} with k={k}; needed: (n, places), and k from 1 on")
    if ranked.dtype.kind == "f" and (ranked != np.floor(ranked)).any():
        raise FoldpackError(f"lists of {ranked.dtype} with fractions; needed: ids, best first, as `top_k` gives")
    k = ranked.shape[1] if k is None else k
    return ranked[:, :k], k


def repeated(ranked: np.ndarray) -> np.ndarray:
    """(n, places) bool: the id stands further up in the same list already."""
    order = np.argsort(ranked, axis=1, kind="stable")
    ids = np.take_along_axis(ranked, order, axis=1)
    again = np.zeros(ranked.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ids[:, 1:] == ids[:, :-1], axis=1)
    return again
