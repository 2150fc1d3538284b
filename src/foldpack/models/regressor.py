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


def build_regressor(
    net: NetConfig, targets: int, pretrained: bool = False,
                    make: MakeNet | None = None) -> nn.Module:
    """A network (B, C, H, W) float32 normalised -> (B, targets) float32 values.

    Its first part is the timm network, its last the `TargetUnits`. Raises ModelError as `build_classifier` does.
    """
    return nn.Sequential(build_classifier(net, targets, pretrained, make), TargetUnits(targets))
