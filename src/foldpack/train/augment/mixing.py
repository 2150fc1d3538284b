"""Mixing the images of a batch and erasing parts of them (timm, torchvision, and patches of four images)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import v2

from foldpack.settings.training.augment import AugmentConfig

Mixer = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class PatchMixer:
    """Four patches that meet in a random point, each of another shuffle of the batch; targets mix by their areas.

    Width and height of the first patch are shares drawn from Beta(alpha, alpha), once a batch. RICAP (arXiv 1811.09030)
    cuts each patch from a random place of its image; ICAP (3rd place, Kuzushiji Recognition 2019) from the place that
    it is put in.
    """

    def __init__(self, alpha: float, keep_place: bool) -> None:
        self.share = torch.distributions.Beta(alpha, alpha)
        self.keep_place = keep_place

    def __call__(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """images: (B, C, H, W); targets: (B, K) float. Returns new tensors of the same shapes."""
        height, width = images.shape[-2:]
        across, down = (round(side * float(self.share.sample())) for side in (width, height))
        mixed, soft = torch.empty_like(images), torch.zeros_like(targets)
        for top, bottom in ((0, down), (down, height)):
            for left, right in ((0, across), (across, width)):
                order = torch.randperm(len(images))
                y, x = (start if self.keep_place else int(torch.randint(side - (end - start) + 1, ()))
                        for start, end, side in ((top, bottom, height), (left, right, width)))
                patch = images[order, :, y : y + bottom - top, x : x + right - left]
                mixed[:, :, top:bottom, left:right] = patch
                soft += targets[order] * ((bottom - top) * (right - left) / (height * width))
        return mixed, soft


MIXERS: dict[str, Callable[[float], Mixer]] = {
    "mixup": lambda alpha: v2.MixUp(alpha=alpha),
    "cutmix": lambda alpha: v2.CutMix(alpha=alpha),
    "ricap": lambda alpha: PatchMixer(alpha, keep_place=False),
    "icap": lambda alpha: PatchMixer(alpha, keep_place=True),
}

ERASE_MODES = {"noise": "pixel", "colour": "rand", "mean": "const"}  # as timm calls them; a normalised mean is 0


def erasing(config: AugmentConfig, device: torch.device) -> RandomErasing:
    """What erases in a normalised batch, in its place."""
    (least, most), (low, high) = config.erase_area, config.erase_aspect
    return RandomErasing(config.erase, least, most, low, high, mode=ERASE_MODES[config.erase_fill],
                         max_count=config.erase_count, device=str(device))


class BatchMixer:
    """Mixing on a normalised batch, then erasing; whether and how it is mixed is drawn anew for every batch."""

    def __init__(self, config: AugmentConfig, device: torch.device) -> None:
        self.erase = erasing(config, device) if config.erase else None
        self.mixers = [MIXERS[name](getattr(config, name)) for name in config.mixers]
        self.share = config.mix

    def __call__(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """images: (B, C, H, W) float; targets: (B, K) float, a row an image. Returns new tensors of the same shapes."""
        if self.mixers and len(images) > 1 and (self.share == 1 or float(torch.rand(())) < self.share):
            chosen = self.mixers[int(torch.randint(len(self.mixers), ()))]
            images, targets = chosen(images, targets)
        if self.erase is not None:
            images = self.erase(images)
        return images, targets
