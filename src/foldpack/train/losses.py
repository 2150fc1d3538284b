"""Losses by name, from a run's configuration."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from foldpack.settings.project_code import is_project_code, load_code
from foldpack.settings.run import ConfigError, LossConfig

LOSSES_OF_TASK = {"multiclass": ("cross_entropy",), "multilabel": ("bce", "asymmetric"),
                  "regress": ("mse", "l1", "smooth_l1", "huber", "cross_entropy"), "embed": ("arcface", "proxy_anchor")}
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


class MarginLoss(nn.Module):
    """A loss of pytorch-metric-learning on unit vectors and identities, in full precision. Its class vectors learn."""

    def __init__(self, config: LossConfig, identities: int, dim: int) -> None:
        super().__init__()
        from pytorch_metric_learning import losses  # a second, which only this task has to wait for

        kind, scale = {"arcface": (losses.ArcFaceLoss, "scale"), "proxy_anchor": (losses.ProxyAnchorLoss, "alpha")}[
            config.name]
        given = {"margin": config.margin, scale: config.scale}
        self.of = kind(identities, dim, **{name: value for name, value in given.items() if value is not None})

    def forward(self, vectors: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """vectors: (B, D); identities: (B,) int64."""
        with torch.autocast(vectors.device.type, enabled=False):
            return self.of(vectors.float(), identities)


class OwnLoss(nn.Module):
    """A loss of a project's own: a class that is made with `kwargs`, or a function that is called with them.

    More for a class of task "embed": `identities` and `dim`.
    """

    def __init__(self, config: LossConfig, more: dict[str, int]) -> None:
        super().__init__()
        found = load_code(config.name, "loss")
        if not callable(found):
            raise ConfigError(f"loss {config.name}: it is a {type(found).__name__}; needed: a function loss(outputs, "
                              "targets), or a class of such modules")
        try:
            self.of = found(**more, **config.kwargs) if isinstance(found, type) else partial(found, **config.kwargs)
        except TypeError as failure:
            raise ConfigError(f"loss {config.name} with {config.kwargs} cannot be made: {failure}; change "
                              "`loss.kwargs`") from None

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """outputs, targets: as of the built-in losses of the task."""
        return self.of(outputs, targets)


def require_loss(config: LossConfig, task: str) -> None:
    """Raises ConfigError for a loss that does not fit the task."""
    if is_project_code(config.name):
        OwnLoss(config, {"identities": 2, "dim": 2} if task == "embed" else {})
        return
    allowed = LOSSES_OF_TASK[task]
    if config.name not in allowed:
        raise ConfigError(f"loss '{config.name}' does not fit a {task} competition; allowed: {', '.join(allowed)}")


def build_loss(config: LossConfig, task: str, identities: int = 0, dim: int = 0) -> nn.Module:
    """The loss of a run: (B, C) outputs and (B, C) float targets -> scalar. Raises ConfigError if it does not fit.

    Of task "embed": (B, dim) vectors and (B,) int64 identities, below `identities`.
    """
    if is_project_code(config.name):
        return OwnLoss(config, {"identities": identities, "dim": dim} if task == "embed" else {})
    require_loss(config, task)
    if task == "embed":
        return MarginLoss(config, identities, dim)
    return {
        "cross_entropy": lambda: nn.CrossEntropyLoss(label_smoothing=config.smoothing),
        "bce": lambda: SmoothBCE(config.smoothing, config.pos_weight),
        "asymmetric": lambda: AsymmetricLoss(config.gamma_neg, config.gamma_pos),
        "mse": nn.MSELoss,
        "l1": nn.L1Loss,
        "smooth_l1": lambda: nn.SmoothL1Loss(beta=config.delta),
        "huber": lambda: nn.HuberLoss(delta=config.delta),
    }[config.name]()
