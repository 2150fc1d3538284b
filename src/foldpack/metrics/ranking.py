"""Scores of ranked lists: mean average precision and recall at k, as Kaggle defines them."""

from __future__ import annotations

import numpy as np


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """(n, C) scores -> (n, k) int64 columns, best first; equal scores keep column order."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def map_at_k(y: np.ndarray, ranked: np.ndarray) -> float:
    """Mean of 1/rank of the one true id, 0 when it is not in the list (Kaggle's MAP@k with one answer an item).

    y: (n,) int true ids; ranked: (n, k) int ids, best first, -1 for an empty place; an id listed twice counts once.
    """
    hit = ranked == y[:, None]
    return float(np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0.0).mean())


def multi_map_at_k(relevant: np.ndarray, ranked: np.ndarray) -> float:
    """Mean average precision at k when an item may have many right answers.

    relevant: (n, C) bool; ranked: (n, k) int columns, best first, none twice. Each item's sum of precisions at its
    hits is divided by min(number relevant, k); an item with nothing relevant scores 0.
    """
    hit = np.take_along_axis(relevant, ranked, axis=1)
    precision = np.cumsum(hit, axis=1) / np.arange(1, ranked.shape[1] + 1)
    most = np.minimum(relevant.sum(axis=1), ranked.shape[1])
    return float(((precision * hit).sum(axis=1) / np.maximum(most, 1)).mean())


def recall_at_k(y: np.ndarray, ranked: np.ndarray) -> float:
    """Share of items whose true id is in their list. y: (n,) int; ranked: (n, k) int, -1 for an empty place."""
    return float((ranked == y[:, None]).any(axis=1).mean())
