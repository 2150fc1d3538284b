"""What a network is shown at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foldpack.data.geometry import input_shape
from foldpack.data.rows import Rows
from foldpack.predict.view_pixels import split_views, stack_views
from foldpack.predict.views import View
from foldpack.settings.network import NetConfig


@dataclass(frozen=True)
class Batch:
    """Some rows of a stage, on the device and normalised."""

    images: torch.Tensor  # (B, C, H, W) float32: a picture or page a row, or the crops of all boxes of the rows
    config: NetConfig  # of the network that sees them
    grey: torch.Tensor | None = None  # (B, C, H, W) float32 without colour, where a view asks for it
    starts: np.ndarray | None = None  # (rows + 1,) int64: where the crops of each row begin; None: one image a row
    frames: np.ndarray | None = None  # (rows, 6): file height and width, scale and offset of the canvas
    box: np.ndarray | None = None  # (N, 4) float32 xyxy, pixels of the file: the known boxes of all rows


# What is done with a batch under some views: `tasks.protocol.Task.predict`.
Step = Callable[[nn.Module, Batch, list[View]], list[Rows]]


def view_outputs(net: nn.Module, batch: Batch, views: list[View]) -> np.ndarray:
    """(V, B, C) float32: what a network that gives C numbers an image says to every view."""
    canvas = (batch.images.shape[-2], batch.images.shape[-1])
    sizes = [input_shape(batch.config, canvas, view.side) for view in views]
    answers = [np.empty(0)] * len(views)
    for inside, shown in stack_views(views, batch.images, sizes, batch.grey):
        for position, answer in zip(inside, split_views(net(shown).float(), len(inside)).cpu().numpy(), strict=True):
            answers[position] = answer
    return np.stack(answers)


def logit_rows(net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
    """The step of classifiers: column `logits` (B, C) float32 for each view."""
    return [Rows({"logits": logits}, batch.starts) for logits in view_outputs(net, batch, views)]


def stacked_logits(views: list[Rows]) -> np.ndarray:
    """(V, n, C) float32."""
    return np.stack([rows.columns["logits"] for rows in views])
