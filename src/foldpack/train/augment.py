"""Augmentation: geometry and colour per image (albumentations), erasing and mixing per batch (timm, torchvision)."""

from __future__ import annotations

import os

import torch
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import v2

from foldpack.config import AugmentConfig

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version
import albumentations as A  # noqa: E402

WHITE = (255, 255, 255)


def build_augmentation(config: AugmentConfig, seed: int) -> A.Compose:
    """(H, W, 3) uint8 -> the same shape and type. Pixels from outside the image repeat its edge."""
    steps: list[A.BasicTransform] = []
    if config.hflip:
        steps.append(A.HorizontalFlip(p=config.hflip))
    if config.vflip:
        steps.append(A.VerticalFlip(p=config.vflip))
    if config.affine:
        steps.append(A.Affine(
            translate_percent={"x": (-config.shift, config.shift), "y": (-config.shift, config.shift)},
            scale=(1 - config.scale, 1 + config.scale), rotate=(-config.rotate, config.rotate),
            border_mode=1, p=config.affine))  # 1: cv2.BORDER_REPLICATE
    if config.colour:
        strength = config.colour_strength
        steps.append(A.ColorJitter(
            brightness=(1 - strength, 1 + strength), contrast=(1 - strength, 1 + strength),
            saturation=(1 - strength, 1 + strength), hue=(-strength / 4, strength / 4), p=config.colour))
    if config.grey:
        steps.append(A.ToGray(p=config.grey))
    return A.Compose(steps, seed=seed)


class BatchMixer:
    """Erasing, mixup and CutMix on a normalised batch; mixup or CutMix is drawn anew for every batch."""

    def __init__(self, config: AugmentConfig, device: torch.device) -> None:
        self.erase = RandomErasing(probability=config.erase, mode="pixel", device=str(device)) if config.erase else None
        self.mixers: list[v2.Transform] = []
        if config.mixup:
            self.mixers.append(v2.MixUp(alpha=config.mixup))
        if config.cutmix:
            self.mixers.append(v2.CutMix(alpha=config.cutmix))

    def __call__(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """images: (B, 3, H, W) float; targets: (B, C) float in [0, 1]. Returns new tensors of the same shapes."""
        if self.mixers and len(images) > 1:
            chosen = self.mixers[int(torch.randint(len(self.mixers), ()))]
            images, targets = chosen(images, targets)
        if self.erase is not None:
            images = self.erase(images)
        return images, targets
