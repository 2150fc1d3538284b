"""How sure the weights are: bootstrap over blocks of items, and what each member adds to the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.search.weights.local_model import LocalModel

DRAWS = 200
CONTRIBUTION_DRAWS = 50
INCLUDED = 1e-3  # a weight below this share counts as left out


@dataclass(frozen=True)
class Uncertainty:
    """Per member, all (M,): the 5 % and 95 % points of its weight, how often a fit gives it any, and what it is worth.

    worth: how much the loss rises when the member is left out and the rest refitted; with its 5 % and 95 % points.
    """

    weight_low: np.ndarray
    weight_high: np.ndarray
    inclusion: np.ndarray
    worth: np.ndarray
    worth_low: np.ndarray
    worth_high: np.ndarray


def bootstrap(
    model: LocalModel, draws: int = DRAWS, worth_draws: int = CONTRIBUTION_DRAWS, seed: int = 0, share: float = 1.0
) -> Uncertainty:
    """Refit on blocks drawn with replacement. The same seed gives the same numbers.

    share: of the way from equal weights to fitted ones that the blend keeps; every draw is shrunk as the blend was.
    """
    rng = np.random.default_rng(seed)
    blocks, members = len(model.gradients), model.members
    everyone = np.ones(members, dtype=bool)
    weights, worths = np.empty((draws, members)), np.empty((min(draws, worth_draws), members))
    for draw in range(draws):
        system = model.system(np.bincount(rng.integers(0, blocks, blocks), minlength=blocks).astype(float))
        x = model.solve(everyone, *system)
        weights[draw] = x[:members] / max(x[:members].sum(), 1e-12)
        if draw < len(worths):
            worths[draw] = leave_one_out(model, x, system)
    low, high = np.quantile(share * weights + (1 - share) / members, [0.05, 0.95], axis=0)
    worth_low, worth_high = np.quantile(worths, [0.05, 0.95], axis=0)
    system = model.system()
    worth = leave_one_out(model, model.solve(everyone, *system), system)
    return Uncertainty(low, high, (weights > INCLUDED).mean(axis=0), worth, worth_low, worth_high)


def leave_one_out(model: LocalModel, x: np.ndarray, system: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(M,) rise of the loss without each member, the others refitted; 0 for a member without weight."""
    full = model.value(x, *system)
    rises = np.zeros(model.members)
    for member in np.flatnonzero(x[: model.members] > 0):
        if model.members > 1:
            rises[member] = model.loss_of(np.arange(model.members) != member, system) - full
    return rises
