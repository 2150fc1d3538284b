"""Train one network on all folds but one, keep the epoch that scores best on the one left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from accelerate.utils import set_seed

from foldpack.settings.run import RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import FoldResult, is_better
from foldpack.train.loop.guard import NotFiniteLoss
from foldpack.train.loop.states import FoldStates
from foldpack.train.loop.training import CALMER, FoldTraining, TrainingError, fold_seed
from foldpack.train.watch.watch import Watch

Log = Callable[[dict[str, object]], None]
Keep = Callable[[FoldResult], None]


def fit_fold(config: RunConfig, data: TrainingSet, fold: int, log: Log, keep: Keep = lambda result: None,
             watch: Watch | None = None, states: FoldStates | None = None) -> FoldResult:
    """Train on the items outside `fold` and predict those inside it with the best epoch's weights.

    `log` gets a flat dict after every epoch; its `lr` is the rate at the epoch's start. `keep` gets what every
    evaluated epoch gave, `watch` hears of every batch. states: where the state is saved after every epoch, and taken
    up from; None: nowhere. Raises TrainingError when the loss is not finite.
    """
    def begin() -> FoldTraining:
        set_seed(fold_seed(config, fold))
        training = FoldTraining(config, data, fold, watch, states, lambda text: log({"fold": fold, "warning": text}))
        if training.resume():
            log({"fold": fold, "resumed": training.progress.epoch, "batches": training.progress.batch})
            best = training.progress.best
            if watch is not None and best is not None:
                watch.standing.best, watch.standing.best_epoch = round(best.score, 6), best.epoch
        return training

    training = begin()
    while not training.progress.ended:
        try:
            fit_epoch(training, log, keep)
            training.save()
        except NotFiniteLoss as failure:
            fault = f"the {failure} in epoch {training.progress.epoch}"
        else:
            continue
        if training.progress.slower < 1:  # it has gone back before
            raise TrainingError(f"run '{config.run}': {fault}, with {training.progress.slower:g} of its learning rate; "
                                f"{CALMER}")
        training.tell(f"{fault}, once too often; the fold goes back to its last saved state, or to its start, and on "
                      f"with {config.nonfinite.rate:g} of its learning rate")
        del training  # before there is another one
        training = begin()
        training.progress.slower, training.progress.in_a_row = config.nonfinite.rate, 0
    best = training.progress.best
    assert best is not None  # the last epoch is always evaluated
    if math.isnan(best.score):
        raise TrainingError(f"run '{config.run}': fold {fold} scores no number in any epoch, so its predictions are "
                            f"none; {CALMER}")
    return best if training.swa is None else better_average(training, best, log)


def fit_epoch(training: FoldTraining, log: Log, keep: Keep) -> None:
    """Train one epoch, or what is left of it, look whether it is the best one, and whether it is the last."""
    config, at, epoch = training.config, training.progress, training.progress.epoch
    started = time.monotonic() - at.seconds
    at.rate = at.rate if at.batch else training.rate()
    loss, left = training.epoch(epoch), config.epochs - epoch - 1
    entry: dict[str, object] = {"fold": training.fold, "epoch": epoch, "lr": at.rate, "loss": round(loss, 6)}
    if at.skipped:
        entry["skipped"] = at.skipped
    if not left or (epoch + 1) % config.evaluate_every == 0:
        result = training.evaluate(epoch)
        entry["score"] = round(result.score, 6)
        keep(result)
        better = at.best is None or is_better(training.metric, result.score, at.best.score)
        at.best, at.stale = (result, 0) if better or at.best is None else (at.best, at.stale + config.evaluate_every)
        if training.end_epoch(epoch, result.score) and config.optim.reload_best:
            training.go_back(at.best.weights)
    log({**entry, "seconds": round(time.monotonic() - started, 2), "left": left})
    at.next_epoch(ended=not left or (config.patience is not None and at.stale >= config.patience))


def better_average(training: FoldTraining, best: FoldResult, log: Log) -> FoldResult:
    """The mean of the last epochs where it scores better than the best of all, else that one."""
    try:
        averaged = training.evaluate_average()
    except NotFiniteLoss:
        averaged = replace(best, score=math.nan)
    taken = is_better(training.metric, averaged.score, best.score)
    found = None if math.isnan(averaged.score) else round(averaged.score, 6)
    log({"fold": training.fold, "swa_score": found, "best_score": round(best.score, 6), "swa_taken": taken})
    return averaged if taken else best
