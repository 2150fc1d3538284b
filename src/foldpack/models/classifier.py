"""Image classifiers: any timm network with one logit a class."""

from __future__ import annotations

import timm
import torch
from torch import nn

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.spec import NetConfig


class ModelError(FoldpackError):
    """A network that cannot be built, or weights that do not fit it."""


def build_classifier(net: NetConfig, n_classes: int, pretrained: bool = False) -> nn.Module:
    """A network (B, 3, size, size) float32 normalised -> (B, n_classes) float32 logits.

    Raises ModelError for an architecture that timm does not know or keyword arguments it does not take.
    """
    known = timm.list_models()
    if net.arch.split(".")[0] not in known:
        raise ModelError(f"unknown network '{net.arch}': {_nearest_archs(net.arch, known)}")
    try:
        return timm.create_model(net.arch, pretrained=pretrained, num_classes=n_classes, **net.kwargs)
    except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        raise ModelError(f"network '{net.arch}' with {dict(net.kwargs)} cannot be built: {reason}") from None


def _nearest_archs(arch: str, known: list[str]) -> str:
    same_start = [name for name in known if name[:4] == arch[:4]][:8]
    return did_you_mean(arch, known if not same_start else same_start) if same_start else (
        f"timm {timm.__version__} knows {len(known)} names; list them with timm.list_models()")


def normalise(pixels: torch.Tensor, net: NetConfig) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, in the range the network was trained on."""
    mean = torch.tensor(net.mean, device=pixels.device) * 255.0
    std = torch.tensor(net.std, device=pixels.device) * 255.0
    scaled = (pixels.float() - mean) / std
    return scaled.permute(0, 3, 1, 2).contiguous()
