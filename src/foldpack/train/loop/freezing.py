"""Which weights learn when: stages that never do, and a new head that learns alone before the rest joins in, or begins
small."""

from __future__ import annotations

import torch
from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foldpack.models.embedder import UnitLength
from foldpack.models.regressor import BinnedValues, TargetUnits
from foldpack.settings.run import ConfigError, RunConfig


def named_part(net: nn.Module) -> nn.Module:
    """The network that `net.arch` names, without the last layer of a regressor or an embedder, which has no weights."""
    if isinstance(net, nn.Sequential) and isinstance(net[-1], UnitLength | BinnedValues | TargetUnits):
        return net[0]
    return net


def stages_of(net: nn.Module, where: str) -> list[list[str]]:
    """Names of parameters by stage, as timm counts them: the stem first, the head last.

    Raises ConfigError, beginning with `where`, for a network that does not know its stages.
    """
    matcher = getattr(net, "group_matcher", None)
    if matcher is None:
        raise ConfigError(f"{where} needs a network that knows its layers; give yours a method "
                          "`group_matcher(coarse)`, as networks of timm's have it, or leave it out")
    groups = group_parameters(net, matcher(coarse=True))
    return [groups[number] for number in sorted(groups)]


def head_names(net: nn.Module, where: str) -> set[str]:
    """The parameters of the last layer. Raises ConfigError, beginning with `where`, for a network that does not say
    which it is."""
    found = getattr(net, "get_classifier", lambda: None)()
    heads = {id(one) for head in (found if isinstance(found, tuple | list) else [found]) if head is not None
             for one in head.parameters()}
    if not heads:
        raise ConfigError(f"{where} needs a network that knows its head; give yours a method `get_classifier()`, as "
                          "networks of timm's have it, or leave it out")
    return {name for name, one in net.named_parameters() if id(one) in heads}


def scale_head(net: nn.Module, config: RunConfig) -> None:
    """Make the last layer of a new network `head_scale` times as large. Raises ConfigError.

    Some networks of timm's begin with a head that is large for few classes; its first gradients then upset weights that
    training starts from. At 0 all classes begin alike. One that does not say which it is stays as it is, unless a scale
    was asked for.
    """
    scale = config.head_scale
    if scale == 1:
        return
    part = named_part(net)
    if config.optim.head_scale is None and not hasattr(part, "get_classifier"):
        return
    heads = head_names(part, f"run '{config.run}': optim.head_scale")
    with torch.no_grad():
        for name, one in part.named_parameters():
            if name in heads:
                one.mul_(scale)


class Freezing:
    """Freezes `optim.freeze` stages for good, and all but the head for the first `optim.head_epochs` epochs.

    What is frozen has no gradient, takes no update and no decay; its batch norms keep their statistics.
    """

    def __init__(self, config: RunConfig, net: nn.Module) -> None:
        """net: as the task builds it. Raises ConfigError."""
        self.part, optim = named_part(net), config.optim
        self.head_epochs = optim.head_epochs
        names = {name for name, _ in self.part.named_parameters()}
        self.always: set[str] = set()
        self.early: set[str] = set()
        if optim.freeze:
            stages = stages_of(self.part, f"run '{config.run}': optim.freeze")
            if optim.freeze >= len(stages):
                raise ConfigError(f"run '{config.run}': optim.freeze is {optim.freeze}, and network "
                                  f"'{config.net.arch}' has {len(stages) - 1} stages before its head; set it to fewer")
            self.always = {name for stage in stages[: optim.freeze] for name in stage}
        if optim.head_epochs:
            self.early = names - head_names(self.part, f"run '{config.run}': optim.head_epochs")
        self.freeze(self.always)

    def begin(self, epoch: int) -> None:
        """Before each epoch, after the network was set to train."""
        self.freeze(self.always | (self.early if epoch < self.head_epochs else set()))

    def freeze(self, frozen: set[str]) -> None:
        """Let all learn but what is frozen."""
        for name, one in self.part.named_parameters():
            one.requires_grad_(name not in frozen)
        for prefix, module in self.part.named_modules():
            own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
            if isinstance(module, _BatchNorm) and own and frozen.issuperset(own):
                module.eval()
