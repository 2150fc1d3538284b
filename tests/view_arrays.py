"""What is predicted by view, as one array."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from foldpack.data.rows import Rows
from foldpack.data.runs import Run
from foldpack.ensemble.view_rows import stacked_views
from foldpack.predict.device import Precision
from foldpack.predict.loop import predict_views
from foldpack.settings.network import NetConfig


def predict_logits(
    net: nn.Module, config: NetConfig, pixels: np.ndarray | list[np.ndarray], views: list[str], device: torch.device,
    batch_size: int, on_batch: Callable[[int], None] | None = None, precision: Precision | None = None,
) -> np.ndarray:
    """(V, n, C) float32: `predict_views` of a network that gives C numbers."""
    found = predict_views(net, config, pixels, views, device, batch_size, on_batch=on_batch, precision=precision)
    return stacked_views(found, "logits")


def oof_array(run: Run) -> np.ndarray:
    """(V, n, width) of a run, of whatever column it has."""
    return views_array(run.views())


def views_array(views: list[Rows]) -> np.ndarray:
    """(V, n, width) of rows with one column."""
    [column] = views[0].columns
    return stacked_views(views, column)


def rows_of_array(array: np.ndarray, column: str = "logits") -> list[Rows]:
    """(V, n, width) as rows by view."""
    return [Rows({column: view}) for view in array]
