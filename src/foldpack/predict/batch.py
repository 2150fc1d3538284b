"""What a network is shown at a time, and what classifiers do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foldpack.data.geometry import input_shape
from foldpack.data.rows import Rows
from foldpack.predict.view import View
from foldpack.predict.view_pixels import split_views, stack_views
from foldpack.settings.network import NetConfig


@dataclass(frozen=True)
class Batch:
    """Canvases of one shape, on the device and normalised."""

    images: torch.Tensor  # (B, C, H, W) float32: a picture or page each, or a box of one
    config: NetConfig  # of the network that sees them
    grey: torch.Tensor | None = None  # the same without colour, where a view asks for it
    frames: np.ndarray | None = None  # (B, 6): file height and width, scale and offset of the canvas

    def shown(self, views: list[View]) -> list[tuple[list[int], torch.Tensor]]:
        """What the network sees, stacked by shape: [(positions in `views`, (len(positions) * B, C, h, w)), ...]."""
        height, width = self.images.shape[-2:]
        sizes = [input_shape(self.config, (height, width), view.side) for view in views]
        return stack_views(views, self.images, sizes, self.grey)


# What is done with a batch under some views: `tasks.protocol.Task.predict`.
Step = Callable[[nn.Module, Batch, list[View]], list[Rows]]


def view_outputs(net: nn.Module, batch: Batch, views: list[View]) -> list[np.ndarray]:
    """(B, C) float32 of each view: what a network that gives C numbers an image says to it."""
    answers: dict[int, np.ndarray] = {}
    for inside, shown in batch.shown(views):
        answers |= zip(inside, split_views(net(shown).float(), len(inside)).cpu().numpy(), strict=True)
    return [answers[position] for position in range(len(views))]


def logit_rows(net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
    """The step of classifiers: column `logits` (B, C) float32 for each view."""
    return [Rows({"logits": logits}) for logits in view_outputs(net, batch, views)]
