"""Losses of values, and of values that are predicted by bins."""

from __future__ import annotations

import torch
from torch import nn

from foldpack.train.losses.item_loss import ItemLoss

KAPPA_EPSILON = 1e-9  # against 0 / 0, of a batch of one grade that is predicted for sure


class PinballLoss(ItemLoss):
    """Pinball loss of a quantile q: an item above its prediction costs q times the distance, one below 1 - q times.

    Mean over the targets of an item. Its minimum is the q-quantile; q = 0.5 is half of `l1`.
    """

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """outputs, targets: (B, T)."""
        above = targets - outputs
        return torch.maximum(self.quantile * above, (self.quantile - 1) * above).mean(dim=1)


class OrdinalLoss(ItemLoss):
    """Cross-entropy of "more than k" at each threshold k between the bins, mean over the thresholds.

    The probability of "more than k" is the sum of the softmax over the bins above, so the thresholds cannot contradict
    each other, and what is predicted is the same mean of the bins as with `cross_entropy`. Far misses cost more than
    near ones, as quadratic kappa has it. It is the ranked probability score (Epstein 1969) with logarithms for squares.
    """

    def each(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """outputs: (B, bins) logits; targets: (B, bins) shares that sum to 1."""
        log_probs = outputs.log_softmax(dim=1)
        below = log_probs.logcumsumexp(dim=1)[:, :-1]
        above = log_probs.flip(1).logcumsumexp(dim=1).flip(1)[:, 1:]
        more = targets.flip(1).cumsum(dim=1).flip(1)[:, 1:]
        return -(more * above + (1 - more) * below).mean(dim=1)


class SoftKappaLoss(nn.Module):
    """1 - quadratic weighted kappa of a batch, with probabilities in place of choices (de la Torre et al. 2018,
    doi 10.1016/j.patrec.2017.05.018). In a batch of few items it says little."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor,
                weights: torch.Tensor | None = None) -> torch.Tensor:
        """outputs: (B, bins) logits; targets: (B, bins) shares that sum to 1; weights: (B,), None: all 1."""
        probs, place = outputs.softmax(dim=1), torch.arange(outputs.shape[1], device=outputs.device)
        distance = ((place[:, None] - place) ** 2).float()
        shares = targets if weights is None else targets * weights[:, None]
        count = shares.sum().clamp(min=KAPPA_EPSILON)
        observed = (shares @ distance * probs).sum()
        predicted = probs.sum(dim=0) if weights is None else (probs * weights[:, None]).sum(dim=0)
        expected = shares.sum(dim=0) @ distance @ predicted / count
        return observed / (expected + KAPPA_EPSILON)
