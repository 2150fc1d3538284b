"""Networks that give real values: any timm network, its outputs put back into the targets' own units."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from foldpack.models.classifier import MakeNet, build_classifier
from foldpack.settings.network import NetConfig


class TargetUnits(nn.Module):
    """The last layer of a regressor: numbers of mean 0 and deviation 1 -> the targets' units.

    mean, deviation: (T,) of the training targets. They are part of the weights, so no reader has to be told.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("deviation", torch.ones(targets))

    def measure(self, targets: np.ndarray) -> TargetUnits:
        """Take over mean and deviation of (n, T) training targets; a target that is constant keeps deviation 1."""
        deviation = targets.std(axis=0)
        self.mean.copy_(torch.from_numpy(targets.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1.0)))
        return self

    def standard(self, values: torch.Tensor) -> torch.Tensor:
        """(B, T) float32 values in the targets' units -> numbers of mean 0 and deviation 1."""
        return (values - self.mean) / self.deviation

    def forward(self, standard: torch.Tensor) -> torch.Tensor:
        """(B, T) of any float type -> (B, T) float32 in the targets' units."""
        return standard.float() * self.deviation + self.mean


class BinnedValues(nn.Module):
    """The last layer of a regressor of bins: logits of each -> the mean of their centres, by probability.

    In training it hands the logits on, as the loss is on them. centres: (T, bins), evenly from lowest to highest, both
    included. They are part of the weights, so no reader has to be told.
    """

    centres: torch.Tensor

    def __init__(self, targets: int, bins: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, 1, bins).repeat(targets, 1))

    def measure(self, targets: np.ndarray, limits: list[float] | None = None) -> BinnedValues:
        """Take the centres from lowest and highest, or from those of (n, T) training targets where none are given."""
        low, high = (targets.min(axis=0), targets.max(axis=0)) if limits is None else limits
        low, high = (np.broadcast_to(end, targets.shape[1:]).astype(np.float64) for end in (low, high))
        high = np.where(high > low, high, low + 1)  # a target that is constant
        steps = np.linspace(0, 1, self.centres.shape[1])
        self.centres.copy_(torch.from_numpy(low[:, None] + (high - low)[:, None] * steps))
        return self

    def soft(self, values: torch.Tensor) -> torch.Tensor:
        """(B, T) values -> (B, T, bins) shares that sum to 1: of the two nearest centres, so that their mean is the
        value; one beyond the ends is the end."""
        low, high = self.centres[:, 0], self.centres[:, -1]
        last = self.centres.shape[1] - 1
        place = ((values - low) / (high - low) * last).clamp(0, last)
        below = place.floor().clamp(max=last - 1)
        share = (place - below)[..., None]
        shares = torch.zeros(*values.shape, last + 1, device=values.device, dtype=values.dtype)
        shares.scatter_(-1, below.long()[..., None], 1 - share)
        return shares.scatter_(-1, below.long()[..., None] + 1, share)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, T * bins) of any float type -> (B, T) float32 values; in training the same logits, float32."""
        if self.training:
            return logits.float()
        probs = logits.float().reshape(-1, *self.centres.shape).softmax(dim=-1)
        return (probs * self.centres).sum(dim=-1)


def build_regressor(
    net: NetConfig, targets: int, pretrained: bool = False,
                    make: MakeNet | None = None) -> nn.Module:
    """A network (B, C, H, W) float32 normalised -> (B, targets) float32 values.

    Its first part is the timm network, its last the `TargetUnits`, or `BinnedValues` where `net.bins` says so. Raises
    ModelError as `build_classifier` does.
    """
    last = TargetUnits(targets) if net.bins is None else BinnedValues(targets, net.bins)
    return nn.Sequential(build_classifier(net, targets * (net.bins or 1), pretrained, make), last)
