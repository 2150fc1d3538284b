"""Image classifiers: any timm network with one logit a class."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from torch import nn

from foldpack.errors import FoldpackError
from foldpack.models.cosine_head import with_cosine_head
from foldpack.models.pooling import with_gem_pool
from foldpack.settings.network import NetConfig, height_width

MakeNet = Callable[..., nn.Module]  # (pretrained, num_classes, **kwargs): a network of a project's own


class ModelError(FoldpackError):
    """A network that cannot be built, or weights that do not fit it."""


def build_classifier(net: NetConfig, n_classes: int, pretrained: bool = False,
                     make: MakeNet | None = None) -> nn.Module:
    """A network (B, C, H, W) float32 normalised -> (B, n_classes) float32 logits.

    make: what `net.arch` names where that is a FILE.py:NAME of a project's own.
    Raises ModelError for an architecture that timm does not know or keyword arguments it does not take.
    """
    if make is None:
        known = timm.list_models()
        if net.arch.split(".")[0] not in known:
            raise ModelError(f"unknown network '{net.arch}': {_nearest_archs(net.arch, known)}")
        make = partial(timm.create_model, net.arch)
    kwargs: dict[str, Any] = {**({} if net.channels == 3 else {"in_chans": net.channels}), **net.kwargs}
    try:
        built = make(pretrained=pretrained, num_classes=n_classes, **kwargs)
        if net.cosine is not None:
            built = with_cosine_head(built, net.cosine)
        if net.pool is not None:
            built = with_gem_pool(built)
        return built.to(memory_format=torch.channels_last)  # the order in which decoded pixels lie in memory
    except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        raise ModelError(f"network '{net.arch}' with {dict(net.kwargs)} cannot be built: {reason}") from None


def require_output(config: NetConfig, net: nn.Module, n_classes: int, size: tuple[int, int] | None = None) -> None:
    """Try one black image. Raises ModelError when the network does not take this size or gives no logit a class.

    size: height and width, of a view; None: the network's own.
    """
    net.eval()
    height, width = size or height_width(config.size)
    try:
        with torch.inference_mode():
            shape = tuple(net(torch.zeros(1, config.channels, height, width)).shape)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        shown = str(height) if height == width else f"{height} x {width}"
        raise ModelError(f"network '{config.arch}' does not take images of {shown} px: {reason}; change net.size, or "
                         "name the size in net.kwargs where the network has such an argument") from None
    if shape != (1, n_classes):
        raise ModelError(f"network '{config.arch}' gives {shape} for one image, not {(1, n_classes)}; it is no "
                         "classifier")


def _nearest_archs(arch: str, known: list[str]) -> str:
    near = get_close_matches(arch.split(".")[0], known, n=4)
    hint = f"did you mean '{near[0]}'? Near it: {', '.join(near)}; " if near else ""
    return f"{hint}timm {timm.__version__} knows {len(known)} names, list them with timm.list_models()"


def normalise(pixels: torch.Tensor, net: NetConfig) -> torch.Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32 in channels-last order, in the range the network was trained on."""
    mean = torch.tensor(net.mean, device=pixels.device) * 255.0
    std = torch.tensor(net.std, device=pixels.device) * 255.0
    scaled = (pixels.float() - mean) / std
    return scaled.permute(0, 3, 1, 2)
