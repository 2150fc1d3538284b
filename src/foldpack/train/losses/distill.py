"""What a student learns from a teacher (arXiv 1503.02531): the same probabilities, both less sure by a temperature."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

from foldpack.train.losses.item_loss import ItemLoss

LEAST = 1e-6  # probabilities nearer to 0 or 1 count as this


def soften(probs: np.ndarray, temperature: float, exclusive: bool) -> np.ndarray:
    """(n, C) float32 probabilities whose logits are divided by the temperature. exclusive: one class an item."""
    safe = torch.from_numpy(np.asarray(probs, dtype=np.float32)).clamp(LEAST, 1 - LEAST)
    soft = (safe.log() / temperature).softmax(dim=1) if exclusive else (safe.logit() / temperature).sigmoid()
    return soft.numpy()


class TeacherLoss(ItemLoss):
    """Of an item: of classes the Kullback-Leibler divergence of the student from the teacher, of several labels the
    binary cross-entropy, mean over the classes; both times the temperature squared, so that gradients keep their size.
    Of values the squared error, mean over the targets, in standard deviations.
    """

    def __init__(self, task: str, temperature: float) -> None:
        super().__init__()
        self.task = task
        self.temperature = temperature

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """outputs: (B, C) logits or values; targets: (B, C) what `soften` made of the teacher's, or its values."""
        if self.task == "regress":
            return nn.functional.mse_loss(outputs, targets, reduction="none").mean(dim=1)
        cooler = outputs / self.temperature
        if self.task == "multiclass":
            apart = kl_div(cooler.log_softmax(dim=1), targets, reduction="none").sum(dim=1)
        else:
            apart = binary_cross_entropy_with_logits(cooler, targets, reduction="none").mean(dim=1)
        return self.temperature**2 * apart
