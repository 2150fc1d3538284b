"""Augmentation: geometry and colour per image (albumentations), erasing and mixing per batch (timm, torchvision)."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import v2

from foldpack.settings.run import AugmentConfig

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version
import albumentations as A  # noqa: E402

WHITE = (255, 255, 255)


class Augmentation:
    """Geometry and colour of one image. What happens to it follows from a key, not from what came before it.

    All steps draw from one generator: with a seed for each, as `set_random_seed` of albumentations 2.0.8 gives them,
    two flips of the same probability would always go together.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.steps = A.Compose(augmentation_steps(config))

    def __call__(self, image: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """image: (H, W, 3) uint8; key: integers from 0 on. Returns the same shape and type."""
        for_numpy, for_python = (int(word) for word in np.random.SeedSequence(key).generate_state(2, np.uint64))
        self.steps.set_random_state(np.random.default_rng(for_numpy), random.Random(for_python))
        return self.steps(image=image)["image"]


def augmentation_steps(config: AugmentConfig) -> list[A.BasicTransform]:
    """What is switched on, in order. Pixels from outside the image repeat its edge."""
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
    return steps


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
