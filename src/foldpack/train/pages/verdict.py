"""One line on how a run went, with the numbers that say so: does it still rise, is it level, does it overfit?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldpack.train.pages.run_log import FoldLog, RunLog

FEWEST = 4  # scored epochs of a fold that say anything
LATE = 4  # the last part of the epochs: one in so many
SMALL = 0.01  # share of the whole climb that is nothing


@dataclass(frozen=True)
class Course:
    """How the score of one fold went. Differences are above 0 where it got better, whichever way the metric goes."""

    epochs: int  # that were trained
    best_epoch: int
    best: float
    climb: float  # from the first scored epoch to the best
    gain: float  # that the last quarter of the epochs brought
    drop: float  # from the best to the middle of the last three epochs behind it
    noise: float  # how far the score wavers from one epoch to the next, without its trend
    late: bool  # the best epoch is in the last quarter
    loss: tuple[float, float]  # of the training, at the best epoch and at the end
    loss_fall: float  # share of the first epoch's loss that is gone at the end


def course_of(fold: FoldLog, sign: int) -> Course:
    """sign: 1 where a greater score is better, else -1. fold: with one scored epoch at least."""
    epochs, scores = fold.scored
    good, losses = sign * scores, fold.column("loss")
    place, count = int(good.argmax()), len(fold.entries)
    start = count - math.ceil(count / LATE)
    early, behind = good[epochs < start], good[place + 1 :][-3:]
    steps = np.diff(good[len(good) // 2 :])
    return Course(
        count, int(epochs[place]), float(scores[place]), float(good[place] - good[0]),
        float(good[epochs >= start].max(initial=-np.inf) - early.max()) if len(early) else 0.0,
        float(good[place] - np.median(behind)) if len(behind) else 0.0,
        float(steps.std() / math.sqrt(2)) if len(steps) > 1 else 0.0,
        bool(epochs[place] >= start),
        (float(losses[fold.column("epoch") == epochs[place]][0]), float(losses[-1])),
        float(1 - losses[-1] / losses[0]) if losses[0] else 0.0)


def verdict(run: RunLog) -> str:
    """What a competitor should know, in one line."""
    sign, name = 1 if run.metric.greater_is_better else -1, run.metric.name
    scored = max(len(fold.scored[0]) for fold in run.folds)
    if scored < FEWEST:
        return f"too few scored epochs to tell: {scored}, and {FEWEST} are needed"
    courses = [course_of(fold, sign) for fold in run.folds if len(fold.scored[0])]
    mean = {key: float(np.mean([getattr(one, key) for one in courses])) for key in ("climb", "gain", "drop", "noise",
                                                                                    "loss_fall", "epochs")}
    at_best, at_end = (float(np.mean([one.loss[place] for one in courses])) for place in (0, 1))
    late, best = float(np.mean([one.late for one in courses])), [one.best_epoch for one in courses]
    small = max(2 * mean["noise"], SMALL * mean["climb"])
    where = f"best at epoch {span(best)}, the last is {span([one.epochs - 1 for one in courses])}"
    if mean["drop"] > small and late < 0.5:
        fell = f"{where}: worse by {mean['drop']:.4f} {name} since"
        if at_end <= at_best:
            return (f"{fell}, while the training loss fell from {at_best:.3g} to {at_end:.3g}: it overfits; fewer "
                    "epochs, or more augmentation, weight decay or dropout")
        return (f"{fell}, and the training loss rose from {at_best:.3g} to {at_end:.3g}: it runs away; lower optim.lr "
                "or set optim.clip_norm")
    if mean["climb"] <= 2 * mean["noise"]:
        return (f"learns next to nothing: the best is {mean['climb']:.4f} {name} above the first epoch, it wavers by "
                f"{mean['noise']:.4f}, and the training loss fell by {mean['loss_fall']:.0%}; try other rates with "
                "`foldpack lr`, and look at the images with `foldpack batch`")
    last = math.ceil(mean["epochs"] / LATE)
    brought = f"the last {last} epochs brought {mean['gain']:+.4f} {name} of {mean['climb']:+.4f}"
    if mean["gain"] > max(mean["noise"], SMALL * mean["climb"]) and late >= 0.5:
        return f"still rising at the end ({where}): {brought}; train longer"
    return f"level at the end ({where}): {brought}, and it wavers by {mean['noise']:.4f}; more epochs bring little"


def span(numbers: list[int]) -> str:
    """`7`, or `5 to 9`."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def fold_gap(run: RunLog) -> str:
    """How far the folds lie apart, in one line; "" where there are not two."""
    sign = 1 if run.metric.greater_is_better else -1
    best = [course_of(fold, sign).best for fold in run.folds if len(fold.scored[0])]
    if len(best) < 2:
        return ""
    return (f"best {run.metric.name} by fold {min(best):.4f} to {max(best):.4f}, a gap of {max(best) - min(best):.4f}; "
            f"mean {np.mean(best):.4f}, deviation {np.std(best, ddof=1):.4f}")
