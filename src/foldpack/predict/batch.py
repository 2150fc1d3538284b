"""What a network is shown at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foldpack.data.rows import Rows
from foldpack.predict.view_pixels import apply_views, split_views
from foldpack.predict.views import View
from foldpack.settings.network import NetConfig


@dataclass(frozen=True)
class Batch:
    """Some rows of a stage, on the device and normalised."""

    images: torch.Tensor  # (B, C, H, W) float32: a picture or page a row, or the crops of all boxes of the rows
    config: NetConfig  # of the network that sees them
    starts: np.ndarray | None = None  # (rows + 1,) int64: where the crops of each row begin; None: one image a row
    frames: np.ndarray | None = None  # (rows, 6): file height and width, scale and offset of the canvas
    box: np.ndarray | None = None  # (N, 4) float32 xyxy, pixels of the file: the known boxes of all rows


# What is done with a batch under some views: `tasks.protocol.Task.predict`.
Step = Callable[[nn.Module, Batch, list[View]], list[Rows]]


def view_outputs(net: nn.Module, batch: Batch, views: list[View]) -> np.ndarray:
    """(V, B, C) float32: what a network that gives C numbers an image says to every view."""
    outputs = net(apply_views(views, batch.images, batch.config.size)).float()
    return split_views(outputs, len(views)).cpu().numpy()


def logit_rows(net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
    """The step of classifiers: column `logits` (B, C) float32 for each view."""
    return [Rows({"logits": logits}, batch.starts) for logits in view_outputs(net, batch, views)]


def stacked_logits(views: list[Rows]) -> np.ndarray:
    """(V, n, C) float32."""
    return np.stack([rows.columns["logits"] for rows in views])
