"""Losses of classes and of several labels: (B, C) float32 logits, (B, C) float targets in [0, 1], mixed ones too."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

from foldpack.train.losses.item_loss import ItemLoss

ASYMMETRIC_MARGIN = 0.05  # negatives below this probability cost nothing; the paper's value
LOG_EPSILON = 1e-8
SOFT_F_EPSILON = 1e-6  # against 0 / 0, of an item without labels


class SmoothBCE(nn.Module):
    """Binary cross-entropy per class, mean over items and classes; positives weigh `pos_weight` times a negative.

    Smoothing s moves targets y to y * (1 - s) + s / C, as timm's BinaryCrossEntropy does.
    """

    def __init__(self, smoothing: float, pos_weight: float, reduction: str = "mean") -> None:
        super().__init__()
        self.smoothing = smoothing
        self.pos_weight = pos_weight
        self.reduction = reduction

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """A scalar, or (B, C) of reduction `none`."""
        smooth = targets * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        weight = torch.as_tensor(self.pos_weight, device=logits.device, dtype=logits.dtype)
        return binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight, reduction=self.reduction)


class AsymmetricLoss(ItemLoss):
    """Asymmetric loss (arXiv 2009.14119): sum over classes, mean over items.

    Written out because timm's own sums over the items up to 1.0.30 and averages from 1.0.31 on.
    """

    def __init__(self, gamma_neg: float, gamma_pos: float) -> None:
        super().__init__()
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos

    def parts(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(B, C): what each class adds, negative."""
        positive = torch.sigmoid(logits)
        negative = (1 - positive + ASYMMETRIC_MARGIN).clamp(max=1)
        right = positive * targets + negative * (1 - targets)
        focus = (1 - right) ** (self.gamma_pos * targets + self.gamma_neg * (1 - targets))
        likelihood = targets * positive.clamp(min=LOG_EPSILON).log()
        likelihood = likelihood + (1 - targets) * negative.clamp(min=LOG_EPSILON).log()
        return focus * likelihood

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -self.parts(outputs, targets).sum(dim=1)

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """Without weights as one sum, so that earlier runs are repeated to the bit."""
        if weights is not None:
            return super().forward(outputs, targets, weights)
        return -self.parts(outputs, targets).sum() / len(outputs)


class LabelFocalLoss(ItemLoss):
    """Focal loss (arXiv 1708.02002) of several labels, torchvision's: sum over classes, mean over items.

    alpha: what a positive is multiplied with, and a negative with 1 - alpha; None: neither.
    """

    def __init__(self, gamma: float, alpha: float | None) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = -1.0 if alpha is None else alpha

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return sigmoid_focal_loss(outputs, targets, self.alpha, self.gamma).sum(dim=1)


class ClassFocalLoss(ItemLoss):
    """Focal loss (arXiv 1708.02002) of one class an item: (1 - p) ** gamma times the cross-entropy, by softmax."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        log_probs = outputs.log_softmax(dim=1)
        return -(targets * (-log_probs.expm1()) ** self.gamma * log_probs).sum(dim=1)


class SoftFLoss(ItemLoss):
    """1 - F-beta of each item, with probabilities in place of yes and no (kernels of iMet 2019 with beta 2).

    F = (1 + beta²) TP / (beta² Σy + Σp) with TP = Σpy, what F of TP / Σp and TP / Σy comes to. An item without labels
    costs 1, whatever is predicted.
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.square = beta**2

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        probs = outputs.sigmoid()
        right = (probs * targets).sum(dim=1)
        return 1 - (1 + self.square) * right / (self.square * targets.sum(dim=1) + probs.sum(dim=1) + SOFT_F_EPSILON)


class ForgivingLoss(ItemLoss):
    """ForgivingLoss of iMet 2019: BCE(z, y) + w BCE(z y, y), mean over classes.

    Despite its name it forgives nothing: for targets of 0 and 1 it is BCE whose positives weigh 1 + w, plus a constant
    of w ln 2 for each negative. Only mixed targets tell the two apart.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        plain = binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        second = binary_cross_entropy_with_logits(outputs * targets, targets, reduction="none")
        return (plain + self.weight * second).mean(dim=1)
