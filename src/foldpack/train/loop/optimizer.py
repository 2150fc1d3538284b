"""The optimiser of a fold: timm's, by name."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.loop.freezing import named_part, stages_of


def build_optimizer(config: RunConfig, net: nn.Module) -> torch.optim.Optimizer:
    """timm's optimiser factory; biases and norms are not decayed. Raises ConfigError for an unknown name."""
    optim, layers = config.optim, net
    kwargs: dict[str, Any] = dict(optim.kwargs)
    if optim.layer_decay is not None:
        layers, kwargs["layer_decay"] = named_part(net), optim.layer_decay
        stages_of(layers, f"run '{config.run}': optim.layer_decay")
    try:
        made = create_optimizer_v2(layers, opt=optim.name, lr=optim.lr, weight_decay=optim.weight_decay, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError) as failure:
        raise ConfigError(f"run '{config.run}': optimiser '{optim.name}' cannot be built: {failure}; timm lists its "
                          "names with timm.optim.list_optimizers()") from None
    there = {id(one) for group in made.param_groups for one in group["params"]}
    if behind := [one for one in net.parameters() if one.requires_grad and id(one) not in there]:  # such as a neck
        made.add_param_group({"params": behind, "weight_decay": 0.0})
    return made


def add_class_vectors(config: RunConfig, optimizer: torch.optim.Optimizer, loss: nn.Module) -> None:
    """Let the optimiser move what the loss learns, if anything, at a rate of its own and without decay."""
    learned = list(loss.parameters())
    if learned:
        optimizer.add_param_group({"params": learned, "lr": config.loss.lr or config.optim.lr, "weight_decay": 0.0})
