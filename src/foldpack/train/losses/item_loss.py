"""What all losses share: a number an item, and its mean, in which items may have weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class ItemLoss(nn.Module):
    """A loss that is a mean over items. Weights of items multiply theirs, and the mean is still over all items."""

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(B, ...) float32 outputs and their targets -> (B,) the loss of each item."""
        raise NotImplementedError

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """weights: (B,) float, 0 or more; None: all 1. Returns a scalar."""
        losses = self.each(outputs, targets)
        return (losses if weights is None else losses * weights).mean()


class TorchLoss(ItemLoss):
    """A loss of torch's own, a mean over items and columns. Without weights it is torch's mean, to the bit."""

    def __init__(self, make: Callable[..., nn.Module]) -> None:
        """make: takes `reduction`."""
        super().__init__()
        self.mean = make(reduction="mean")
        self.apart = make(reduction="none")

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses = self.apart(outputs, targets)
        return losses if losses.ndim == 1 else losses.mean(dim=1)

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """As of `ItemLoss`."""
        return self.mean(outputs, targets) if weights is None else super().forward(outputs, targets, weights)
