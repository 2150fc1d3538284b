"""Which learning rate: it rises from almost nothing until the loss runs away (Smith, arXiv 1506.01186).

Plotted over the logarithm of the rate, the smoothed loss falls, is lowest, and bursts. A good highest rate lies where
it falls steepest, or at a tenth of where it is lowest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate.utils import set_seed

from foldpack.competitions.adapters import find_adapter
from foldpack.files import write_atomic
from foldpack.search.report.figures import rate_figure
from foldpack.settings.run import ConfigError, NonFiniteConfig, RunConfig
from foldpack.train.checks import check_names, check_sampling, chosen_folds, settled_run
from foldpack.train.dataset import TrainingSet, told_plainly
from foldpack.train.load import CACHE, load_training_set
from foldpack.train.loop.training import FoldTraining, fold_seed
from foldpack.train.run import Say

SMOOTHING = 0.98  # of the loss over the batches, as kernels of iMet 2019 and fastai have it
BURST = 4.0  # times the lowest smoothed loss: the end
FIRST = 10  # batches that are too few to burst or to fall


@dataclass(frozen=True)
class RateRange:
    """What is tried."""

    lowest: float = 1e-7
    highest: float = 10.0
    updates: int = 100

    def at(self, update: int) -> float:
        """The rate of an update, from lowest to highest in equal factors."""
        return self.lowest * (self.highest / self.lowest) ** (update / (self.updates - 1))


@dataclass(frozen=True)
class RateCurve:
    """What each batch said, up to where the loss burst."""

    rates: np.ndarray  # (n,) float64
    losses: np.ndarray  # (n,) float64, of the batch
    smooth: np.ndarray  # (n,) float64

    @property
    def falls(self) -> bool:
        """Whether there is anything to see: the smoothed loss gets lower than it was in the first batches."""
        return bool(self.smooth.argmin() >= FIRST)

    @property
    def lowest(self) -> float:
        """The rate where the smoothed loss is lowest."""
        return float(self.rates[self.smooth.argmin()])

    @property
    def steepest(self) -> float:
        """The rate where the smoothed loss falls most per factor of the rate, before it is lowest. Not among the first
        batches, of which the mean is of few."""
        end = int(self.smooth.argmin()) + 1
        start = min(FIRST, max(end - 3, 0))
        if end - start < 2:
            return self.lowest
        slopes = np.gradient(self.smooth[start:end], np.log(self.rates[start:end]))
        return float(self.rates[start + int(slopes.argmin())])


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Exponential mean over the batches so far, without the pull of its start at 0. losses: (n,)."""
    mean, found = 0.0, []
    for place, loss in enumerate(losses.tolist(), 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**place))
    return np.array(found)


def rate_curve(config: RunConfig, data: TrainingSet, fold: int, tried: RateRange) -> RateCurve:
    """Train one fold while the rate rises, without its schedule; all that learns keeps its share of the rate.

    Raises ConfigError where the loss is no number before there is anything to see.
    """
    set_seed(fold_seed(config, fold))
    patient = NonFiniteConfig(skip=tried.updates)  # what is not finite ends it here
    steady = config.optim.model_copy(update={"schedule": "none"})
    training = FoldTraining(config.model_copy(update={"optim": steady, "nonfinite": patient}), data, fold)
    groups = training.optimizer.param_groups
    shares = [group["lr"] / config.optim.lr * group.get("lr_scale", 1.0) for group in groups]
    for group in groups:
        group.pop("lr_scale", None)
    rates: list[float] = []
    losses: list[float] = []
    epoch = 0
    while training.progress.updates < tried.updates:
        training.begin(epoch)
        for batch, part in enumerate(told_plainly(training.loader)):
            rate = tried.at(training.progress.updates)
            for group, share in zip(groups, shares, strict=True):
                group["lr"] = rate * share
            total, rows = training.learn(part, epoch, batch)
            rates.append(rate)
            losses.append(total / rows)
            if burst(losses) or training.progress.updates >= tried.updates:
                return finished(config, rates, losses)
        epoch += 1
    return finished(config, rates, losses)


def burst(losses: list[float]) -> bool:
    """Whether the loss has run away."""
    if not math.isfinite(losses[-1]):
        return True
    smooth = smoothed(np.array(losses))
    return len(losses) > FIRST and bool(smooth[-1] > BURST * smooth.min() > 0)


def finished(config: RunConfig, rates: list[float], losses: list[float]) -> RateCurve:
    """The curve of finite losses."""
    count = len(losses) if math.isfinite(losses[-1]) else len(losses) - 1
    if count < FIRST:
        raise ConfigError(f"run '{config.run}': the loss is {losses[-1]} after {count} batches, at a learning rate of "
                          f"{rates[-1]:.3g}; lower --lowest, set optim.clip_norm, or use precision: no")
    seen = np.array(losses[:count])
    return RateCurve(np.array(rates[:count]), seen, smoothed(seen))


def find_rate(config: RunConfig, root: Path, folds_csv: Path, runs: Path, fold: int, tried: RateRange, out: Path,
              say: Say = print) -> RateCurve:
    """Look for the learning rate of a run on one of its folds, say what was found, and plot it to `out`, an SVG.

    root: the competition's folder; runs: where decoded images are kept. Raises FoldpackError.
    """
    if not 0 < tried.lowest < tried.highest:
        raise ConfigError(f"--lowest {tried.lowest:g} is not below --highest {tried.highest:g}; both are above 0")
    competition = find_adapter(config.competition)
    check_names(config, competition)
    config = settled_run(config, runs / config.run, say)
    data = load_training_set(config, competition, root, folds_csv, say, runs / CACHE)
    chosen_folds(config.model_copy(update={"folds": [fold]}), data.fold, folds_csv)
    check_sampling(config, data, [fold])
    curve = rate_curve(config, data, fold, tried)
    write_atomic(out, rate_figure(curve.rates, curve.losses, curve.smooth, curve.steepest, curve.lowest / 10))
    say(f"{config.run}: the smoothed loss falls steepest at lr {curve.steepest:.2g}; it is lowest at "
        f"{curve.lowest:.2g}, a tenth of which is {curve.lowest / 10:.2g}; optim.lr is {config.optim.lr:g} now; "
        f"{len(curve.rates)} batches, plot {out}")
    if not curve.falls:
        say(f"warning: the smoothed loss never falls below that of the first {FIRST} batches, so these rates mean "
            f"nothing; give more --updates ({tried.updates} now, 100 are usual) or a larger batch_size, and see {out}")
    return curve
