"""Pooling and neck of an embedder: GeM in place of the mean of the feature map, batch norm before the vector."""

from __future__ import annotations

import timm
import torch
from torch import nn

SMALLEST_FEATURE = 1e-6  # features below it count as it: a power of 0 has no gradient


class GeMPool(nn.Module):
    """Generalised mean of a feature map, (mean of x^p)^(1/p), with p learned from 3 on (arXiv 1711.02512).

    p = 1 is the mean; the larger p, the more the brightest places count. In full precision, as autocast keeps powers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) of any float type -> (B, C, 1, 1) of the same."""
        powers = features.float().clamp(min=SMALLEST_FEATURE).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / self.p).to(features.dtype)


class BatchNormNeck(nn.BatchNorm1d):
    """BNNeck (arXiv 1903.07071): the vector with mean 0 and deviation 1 in each number, and a learned scale of it; its
    shift stays 0, so that cosines are about the origin."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.bias.requires_grad_(False)


def with_gem_pool(net: nn.Module) -> nn.Module:
    """The same network, the mean over its last feature map replaced. Raises ValueError where there is not one mean."""
    found = [module for module in net.modules() if isinstance(module, timm.layers.SelectAdaptivePool2d)
             and isinstance(module.pool, nn.AdaptiveAvgPool2d)]
    if len(found) != 1:
        raise ValueError("net.pool 'gem' needs a network of timm's that takes the mean over its last feature map, and "
                         f"this one has {len(found)} such means; leave net.pool out, or choose a CNN such as resnet18")
    found[0].register_module("pool", GeMPool())
    return net
