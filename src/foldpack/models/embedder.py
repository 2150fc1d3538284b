"""Networks that give embeddings: any timm network, its last layer as wide as the vector, scaled to length 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from foldpack.models.classifier import MakeNet, build_classifier
from foldpack.models.pooling import BatchNormNeck
from foldpack.settings.network import NetConfig


class UnitLength(nn.Module):
    """The last layer of an embedder."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, D) of any float type -> (B, D) float32 of length 1."""
        return normalize(vectors.float(), dim=1)


def build_embedder(net: NetConfig, dim: int, pretrained: bool = False, make: MakeNet | None = None) -> nn.Module:
    """A network (B, C, H, W) float32 normalised -> (B, dim) float32 of length 1.

    Its first part is the timm network: backbone, pooling and a linear layer; then comes the neck, where `net` has one.
    Raises ModelError as `build_classifier` does.
    """
    neck = [] if net.neck is None else [BatchNormNeck(dim)]
    return nn.Sequential(build_classifier(net, dim, pretrained, make), *neck, UnitLength())
