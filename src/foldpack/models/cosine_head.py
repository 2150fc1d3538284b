"""A last layer whose logits are cosines, times a scale: softmax of cosines, for many classes of few items each."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class CosineHead(nn.Module):
    """Logits in [-scale, scale]: the cosine between an image's features and the vector of each class, times the scale.

    Normalised softmax (arXiv 1704.06369); with scale 20 it won third place of Kuzushiji 2019. Learned with an ordinary
    cross-entropy. weight: (classes, features).
    """

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        self.scale = scale
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, features) of any float type -> (B, classes) float32, in full precision wherever it runs."""
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(features.float(), dim=1) @ F.normalize(self.weight.float(), dim=1).T * self.scale


def with_cosine_head(net: nn.Module, scale: float) -> nn.Module:
    """The same network, its last linear layer replaced. Raises ValueError where it does not say which that is."""
    ask = getattr(net, "get_classifier", None)
    last = None if ask is None else ask()
    if not isinstance(last, nn.Linear):
        raise ValueError("net.cosine needs a network whose get_classifier() gives a linear layer, and it gives "
                         f"{type(last).__name__}; leave net.cosine out, or choose another network")
    name = [each for each, module in net.named_modules() if module is last][0]
    parent, _, attribute = name.rpartition(".")
    net.get_submodule(parent).register_module(attribute, CosineHead(last.in_features, last.out_features, scale))
    return net
