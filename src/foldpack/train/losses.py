"""Losses by name, from a run's configuration."""

from __future__ import annotations

import torch
from timm.loss import AsymmetricLossMultiLabel
from torch import nn

from foldpack.config import ConfigError, LossConfig

LOSSES_OF_TASK = {"multiclass": ("cross_entropy",), "multilabel": ("bce", "asymmetric")}


class SmoothBCE(nn.Module):
    """Binary cross-entropy per class, mean over items and classes; positives weigh `pos_weight` times a negative.

    Smoothing s moves targets y to y * (1 - s) + s / C, as timm's BinaryCrossEntropy does.
    """

    def __init__(self, smoothing: float, pos_weight: float) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.pos_weight = pos_weight

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits: (B, C); targets: (B, C) float in [0, 1]."""
        smooth = targets * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        weight = torch.as_tensor(self.pos_weight, device=logits.device, dtype=logits.dtype)
        return nn.functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight)


class MeanAsymmetric(nn.Module):
    """Asymmetric loss (arXiv 2009.14119), divided by the batch size so that the rate does not depend on it."""

    def __init__(self, gamma_neg: float, gamma_pos: float) -> None:
        super().__init__()
        self.loss = AsymmetricLossMultiLabel(gamma_neg=gamma_neg, gamma_pos=gamma_pos)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits, targets: (B, C)."""
        return self.loss(logits, targets) / len(logits)


def build_loss(config: LossConfig, task: str) -> nn.Module:
    """The loss of a run: (B, C) logits and (B, C) float targets -> scalar. Raises ConfigError if it does not fit."""
    allowed = LOSSES_OF_TASK[task]
    if config.name not in allowed:
        raise ConfigError(f"loss '{config.name}' does not fit a {task} competition; allowed: {', '.join(allowed)}")
    if config.name == "cross_entropy":
        return nn.CrossEntropyLoss(label_smoothing=config.smoothing)
    if config.name == "bce":
        return SmoothBCE(config.smoothing, config.pos_weight)
    return MeanAsymmetric(config.gamma_neg, config.gamma_pos)
