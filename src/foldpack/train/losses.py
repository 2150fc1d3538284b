"""Losses by name, from a run's configuration."""

from __future__ import annotations

import torch
from torch import nn

from foldpack.settings.run import ConfigError, LossConfig

LOSSES_OF_TASK = {"multiclass": ("cross_entropy",), "multilabel": ("bce", "asymmetric")}
ASYMMETRIC_MARGIN = 0.05  # negatives below this probability cost nothing; the paper's value
LOG_EPSILON = 1e-8


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


class AsymmetricLoss(nn.Module):
    """Asymmetric loss (arXiv 2009.14119): sum over classes, mean over items.

    Written out because timm's own sums over the items up to 1.0.30 and averages from 1.0.31 on.
    """

    def __init__(self, gamma_neg: float, gamma_pos: float) -> None:
        super().__init__()
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits: (B, C); targets: (B, C) float in [0, 1]."""
        positive = torch.sigmoid(logits)
        negative = (1 - positive + ASYMMETRIC_MARGIN).clamp(max=1)
        right = positive * targets + negative * (1 - targets)
        focus = (1 - right) ** (self.gamma_pos * targets + self.gamma_neg * (1 - targets))
        likelihood = targets * positive.clamp(min=LOG_EPSILON).log()
        likelihood = likelihood + (1 - targets) * negative.clamp(min=LOG_EPSILON).log()
        return -(focus * likelihood).sum() / len(logits)


def build_loss(config: LossConfig, task: str) -> nn.Module:
    """The loss of a run: (B, C) logits and (B, C) float targets -> scalar. Raises ConfigError if it does not fit."""
    allowed = LOSSES_OF_TASK[task]
    if config.name not in allowed:
        raise ConfigError(f"loss '{config.name}' does not fit a {task} competition; allowed: {', '.join(allowed)}")
    if config.name == "cross_entropy":
        return nn.CrossEntropyLoss(label_smoothing=config.smoothing)
    if config.name == "bce":
        return SmoothBCE(config.smoothing, config.pos_weight)
    return AsymmetricLoss(config.gamma_neg, config.gamma_pos)
