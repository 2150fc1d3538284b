"""Decoded training images in memory, augmented on the way out."""

from __future__ import annotations

from dataclasses import dataclass

import albumentations as A
import numpy as np
import torch
from torch.utils.data import Dataset


@dataclass(frozen=True)
class TrainingSet:
    """All labelled items of a competition, decoded at one side."""

    ids: list[str]
    pixels: np.ndarray  # (n, size, size, 3) uint8
    targets: np.ndarray  # (n,) int64 class indices, or (n, C) bool
    fold: np.ndarray  # (n,) int64
    classes: list[str]
    task: str

    def target_matrix(self) -> np.ndarray:
        """(n, C) float32: one-hot for multiclass."""
        if self.targets.ndim == 2:
            return self.targets.astype(np.float32)
        return np.eye(len(self.classes), dtype=np.float32)[self.targets]

    def prior(self) -> list[float]:
        """Share of the items that carry each class, rounded to 6 digits."""
        return [round(float(share), 6) for share in self.target_matrix().mean(axis=0)]


class AugmentedRows(Dataset):
    """Some rows of a training set: index -> ((size, size, 3) uint8 tensor, (C,) float32 tensor)."""

    def __init__(self, data: TrainingSet, rows: np.ndarray, augmentation: A.Compose) -> None:
        self.pixels = data.pixels
        self.targets = data.target_matrix()
        self.rows = rows
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.rows[index]
        image = self.augmentation(image=self.pixels[row])["image"]
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(self.targets[row])
