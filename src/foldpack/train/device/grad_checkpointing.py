"""Gradient checkpointing (Chen et al., arXiv 1604.06174): less memory for the network's activations, more time.

The network does it by itself, in the way of timm's: activations inside its blocks are forgotten, and computed again
when the gradient needs them. The gradient stays the same to the bit; dropout is drawn the same both times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.loop.freezing import named_part


def use_grad_checkpointing(config: RunConfig, net: nn.Module) -> None:
    """Switch it on where the configuration says so. Raises ConfigError for a network that cannot."""
    if not config.grad_checkpointing:
        return
    where = f"run '{config.run}': grad_checkpointing: network '{config.net.arch}'"
    switch = getattr(named_part(net), "set_grad_checkpointing", None)
    if switch is None:
        raise ConfigError(f"{where} has no method `set_grad_checkpointing(enable)`; give yours one, as networks of "
                          "timm's have it, or leave it out")
    try:
        switch(True)
    except (AssertionError, NotImplementedError) as failure:
        raise ConfigError(f"{where} cannot: {failure}; leave it out, or choose another network") from None
    if not config.compile:  # what is compiled computes only the outputs again
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.register_forward_pre_hook(hold_statistics)
                module.register_forward_hook(release_statistics, always_call=True)


def computed_again() -> bool:
    """Whether this is the second time, in the backward pass; torch.utils.checkpoint asks so."""
    return bool(torch._C._current_graph_task_id() != -1)


def hold_statistics(norm: _BatchNorm, inputs: Any) -> None:
    """Before a batch norm: a batch that it has seen does not move its statistics once more."""
    if computed_again():
        norm.usual_momentum, norm.momentum = norm.momentum, 0.0  # type: ignore[assignment]
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.sub_(1)


def release_statistics(norm: _BatchNorm, inputs: Any, outputs: Any) -> None:
    """After it."""
    if computed_again():
        norm.momentum = norm.usual_momentum  # type: ignore[assignment]
