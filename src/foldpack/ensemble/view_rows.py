"""One answer out of several views, as rows: the same in out-of-fold predictions, search and kernel."""

from __future__ import annotations

import numpy as np

from foldpack.data.rows import Rows
from foldpack.ensemble.view_merge import merge_view_probs, merge_view_values, merge_view_vectors
from foldpack.settings.outputs import Classes


def stacked_views(views: list[Rows], column: str) -> np.ndarray:
    """(V, n, C): one column of all views."""
    return np.stack([rows.columns[column] for rows in views])


def merged_logits(views: list[Rows], how: str, outputs: Classes) -> Rows:
    """Column `logits` of each view -> `probs` (n, C) float32. how: as `merge_view_probs` has it."""
    task = "multiclass" if outputs.exclusive else "multilabel"
    return Rows({"probs": merge_view_probs(stacked_views(views, "logits"), task, how)}, views[0].starts)


def merged_values(views: list[Rows]) -> Rows:
    """Column `value` of each view -> `value` (n, T) float32, their mean."""
    return Rows({"value": merge_view_values(stacked_views(views, "value"))}, views[0].starts)


def merged_vectors(views: list[Rows]) -> Rows:
    """Column `vector` of each view -> `vector` (n, D) float32, the direction of their mean."""
    return Rows({"vector": merge_view_vectors(stacked_views(views, "vector"))}, views[0].starts)
