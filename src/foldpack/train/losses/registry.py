"""Losses by name, from a run's configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from foldpack.settings.project_code import is_project_code, load_code
from foldpack.settings.run import ConfigError
from foldpack.settings.training.loss import LOSSES_OF_TASK, LossConfig
from foldpack.train.losses.item_loss import TorchLoss
from foldpack.train.losses.labels import (
    AsymmetricLoss,
    ClassFocalLoss,
    ForgivingLoss,
    LabelFocalLoss,
    SmoothBCE,
    SoftFLoss,
)
from foldpack.train.losses.values import OrdinalLoss, PinballLoss, SoftKappaLoss
from foldpack.train.losses.vectors import AdaCosLoss, MarginLoss

NOT_BY_ITEM = ("proxy_anchor", "triplet")  # of a batch's pairs: no weight of an item fits them


class OwnLoss(nn.Module):
    """A loss of a project's own: a class that is made with `kwargs`, or a function that is called with them.

    More for a class of task "embed": `identities` and `dim`.
    """

    def __init__(self, name: str, config: LossConfig, more: dict[str, int], weighted: bool = False) -> None:
        super().__init__()
        found = load_code(name, "loss")
        if not callable(found):
            raise ConfigError(f"loss {name}: it is a {type(found).__name__}; needed: a function loss(outputs, "
                              "targets), or a class of such modules")
        try:
            self.of = found(**more, **config.kwargs) if isinstance(found, type) else partial(found, **config.kwargs)
            if weighted:
                called = self.of.forward if isinstance(self.of, nn.Module) else self.of
                inspect.signature(called).bind(None, None, None)
        except TypeError as failure:
            raise ConfigError(f"loss {name} with {config.kwargs} cannot be made: {failure}; change "
                              "`loss.kwargs`" + (", or take (outputs, targets, weights)" if weighted else "")) from None

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """outputs, targets: as of the built-in losses of the task; weights go on only where a run has them."""
        return self.of(outputs, targets) if weights is None else self.of(outputs, targets, weights)


class SumLoss(nn.Module):
    """The sum of several losses, each times its weight."""

    def __init__(self, parts: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """As of each part. weights: of the items."""
        losses = [weight * part(outputs, targets, weights)
                  for part, weight in zip(self.parts, self.weights, strict=True)]
        return torch.stack(losses).sum()


def require_loss(config: LossConfig, task: str, weighted: bool = False) -> None:
    """Raises ConfigError for a loss that does not fit the task, or weights of items."""
    for name in config.weighted:
        if is_project_code(name):
            OwnLoss(name, config, {"identities": 2, "dim": 2} if task == "embed" else {}, weighted)
        elif name not in (allowed := LOSSES_OF_TASK[task]):
            raise ConfigError(f"loss '{name}' does not fit a {task} competition; allowed: {', '.join(allowed)}")
        elif name == "focal" and task == "multiclass" and config.alpha is not None:
            raise ConfigError("loss 'focal' of one class an item does not read alpha; leave `loss.alpha` out")
        elif weighted and name in NOT_BY_ITEM:
            raise ConfigError(f"loss '{name}' compares the items of a batch with each other, so weights of items do "
                              "not fit it; leave `weights` out, or choose another loss")


def build_loss(config: LossConfig, task: str, identities: int = 0, dim: int = 0, weighted: bool = False) -> nn.Module:
    """The loss of a run: (B, C) outputs and (B, C) float targets -> scalar. Raises ConfigError if it does not fit.

    Of task "embed": (B, dim) vectors and (B,) int64 identities, below `identities`. weighted: whether items have
    weights, which are its third argument then, (B,).
    """
    require_loss(config, task, weighted)
    more = {"identities": identities, "dim": dim} if task == "embed" else {}
    parts = [OwnLoss(name, config, more, weighted) if is_project_code(name) else named_loss(name, config, task, more)
             for name in config.weighted]
    return SumLoss(parts, list(config.parts.values())) if config.parts else parts[0]


def named_loss(name: str, config: LossConfig, task: str, more: dict[str, int]) -> nn.Module:
    """One of ours. more: `identities` and `dim` of task "embed"."""
    if name == "adacos":
        return AdaCosLoss(**more)
    if task == "embed":
        return MarginLoss(name, config, **more)
    focal = partial(LabelFocalLoss, alpha=config.alpha) if task == "multilabel" else ClassFocalLoss
    makers: dict[str, Callable[[], nn.Module]] = {
        "cross_entropy": lambda: TorchLoss(partial(nn.CrossEntropyLoss, label_smoothing=config.smoothing)),
        "focal": lambda: focal(gamma=config.gamma),
        "bce": lambda: TorchLoss(partial(SmoothBCE, config.smoothing, config.pos_weight)),
        "asymmetric": lambda: AsymmetricLoss(config.gamma_neg, config.gamma_pos),
        "soft_f": lambda: SoftFLoss(config.beta),
        "forgiving": lambda: ForgivingLoss(config.forgiveness),
        "mse": lambda: TorchLoss(nn.MSELoss),
        "l1": lambda: TorchLoss(nn.L1Loss),
        "smooth_l1": lambda: TorchLoss(partial(nn.SmoothL1Loss, beta=config.delta)),
        "huber": lambda: TorchLoss(partial(nn.HuberLoss, delta=config.delta)),
        "pinball": lambda: PinballLoss(config.quantile),
        "ordinal": OrdinalLoss,
        "qwk": SoftKappaLoss,
    }
    return makers[name]()
