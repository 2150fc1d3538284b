"""Means of checkpoints: "model soups" (arXiv 2203.05482), and batch norms that fit a mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foldpack.metrics.registry import Metric
from foldpack.train.evaluate import is_better

Weights = dict[str, torch.Tensor]
Scored = TypeVar("Scored")


def mean_weights(parts: Iterable[Weights]) -> Weights:
    """The mean of tensors of the same names and shapes, summed in float64. Whole numbers are those of the first."""
    sums: Weights = {}
    first: Weights = {}
    count = 0
    for part in parts:
        first = first or part
        for name, tensor in part.items():
            if tensor.is_floating_point():
                sums[name] = tensor.double() if not count else sums[name] + tensor.double()
        count += 1
    return {name: (sums[name] / count).to(tensor.dtype) if name in sums else tensor for name, tensor in first.items()}


def greedy_soup(count: int, evaluate: Callable[[Sequence[int]], Scored], score: Callable[[Scored], float],
                metric: Metric) -> tuple[list[int], Scored]:
    """Greedy soup: ingredients 0 to count - 1, best first, go in one by one if the mean scores no worse for it.

    evaluate: some ingredients -> what their mean gives; score: of that. Returns those of the soup, and what they give.
    """
    chosen = [0]
    best = evaluate(chosen)
    for each in range(1, count):
        tried = evaluate([*chosen, each])
        if not is_better(metric, score(best), score(tried)):
            chosen, best = [*chosen, each], tried
    return chosen, best


def renew_norms(net: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Estimate the running statistics of batch norms anew: the mean over the batches, of those that are in training.

    As `torch.optim.swa_utils.update_bn`, which also overwrites those that are frozen (in eval mode). batches: (B, C, H,
    W) as the network gets them.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.training
             and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for images in batches:
            net(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
