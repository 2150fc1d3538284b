"""Test-time views: a transform of the image batch that leaves the label unchanged."""

from __future__ import annotations

from collections.abc import Callable

import torch

from foldpack.errors import FoldpackError, did_you_mean


class ViewError(FoldpackError):
    """A view that does not exist."""


def identity_view(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) -> the same."""
    return images


def hflip_view(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) -> mirrored left to right."""
    return images.flip(-1)


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": identity_view,
    "hflip": hflip_view,
}


def require_views(names: list[str]) -> None:
    """Raises ViewError for a name that is not in VIEWS, or one that is named twice."""
    for name in names:
        if name not in VIEWS:
            raise ViewError(f"unknown view '{name}': {did_you_mean(name, list(VIEWS))}")
    if len(set(names)) != len(names):
        raise ViewError(f"a view is named twice: {', '.join(names)}; name each once")
