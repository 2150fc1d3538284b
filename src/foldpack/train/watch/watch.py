"""How a training stands while it runs: how far it is, how fast, how long it will take, how much memory it has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from foldpack.metrics.plugin import find_metric
from foldpack.settings.run import RunConfig
from foldpack.train.evaluate import is_better
from foldpack.train.watch.trackers import Trackers

PAUSE = 0.5  # seconds between two pictures of a training, at least
MIB = 1 << 20


@dataclass
class Standing:
    """Where a run is. Shares are 0 to 1; times are seconds, None where nothing can be said yet."""

    run: str
    metric: str
    folds: int  # of the run
    epochs: int  # of a fold, unless it stops early
    fold: int = 0
    place: int = 0  # of the fold among the run's
    epoch: int = 0
    share: float = 0.0  # of the epoch's batches
    loss: float | None = None  # mean over the epoch so far
    score: float | None = None  # of the epoch that was scored last
    best: float | None = None  # of the fold
    best_epoch: int = 0
    images_per_second: float | None = None
    epoch_left: float | None = None
    fold_left: float | None = None
    run_left: float | None = None
    memory: int = 0  # bytes that this process has in memory
    gpu: int | None = None  # bytes that tensors had on the GPU at most; None: there is none

    @property
    def fold_share(self) -> float:
        """Of the fold's epochs."""
        return (self.epoch + self.share) / self.epochs

    @property
    def run_share(self) -> float:
        """Of the run's folds."""
        return (self.place + self.fold_share) / self.folds


Show = Callable[[Standing], None]


class Watch:
    """Counts the batches of one run, adds what it measured to its log, and shows how it stands twice a second."""

    def __init__(self, config: RunConfig, folds: int, show: Show | None = None, trackers: Trackers | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """folds: how many the run has; show: draws it, None for nobody; clock: seconds that never go back."""
        self.metric = find_metric(config.metric)
        self.standing = Standing(config.run, self.metric.name, folds, config.epochs)
        self.show = show
        self.trackers = trackers or Trackers(config, Path(), "")
        self.clock = clock
        self.shown = float("-inf")

    def begin_fold(self, fold: int, place: int) -> None:
        """place: of the fold among the run's."""
        now = self.standing
        self.standing = Standing(now.run, now.metric, now.folds, now.epochs, fold, place, run_left=now.run_left)
        self.fold_began: tuple[float, float] | None = None  # when, and at which share of its epochs

    def begin_epoch(self, epoch: int, batches: int) -> None:
        """batches: of the epoch."""
        self.epoch_began = self.clock()
        self.standing.epoch, self.standing.share, self.standing.loss = epoch, 0.0, None
        self.batches, self.batch, self.images, self.total, self.trained = batches, 0, 0, 0.0, 0.0
        if self.fold_began is None:  # of a fold that is taken up again not its first
            self.fold_began = self.epoch_began, self.standing.fold_share
            self.trackers.start(self.standing.fold, epoch)

    def end_batch(self, images: int, loss: float) -> None:
        """images: that were learned from; loss: its sum over them."""
        now = self.clock()
        self.batch, self.images, self.total = self.batch + 1, self.images + images, self.total + loss
        self.trained = now - self.epoch_began
        if self.show is not None and (now - self.shown >= PAUSE or self.batch == self.batches):
            self.shown = now
            self.stand(now)
            self.show(self.standing)

    def end_epoch(self, entry: dict[str, object]) -> dict[str, object]:
        """The line of `log.jsonl` with what was measured. entry: the line without it."""
        now, score = self.standing, entry.get("score")
        if isinstance(score, float):
            now.score = score
            if is_better(self.metric, score, now.best):
                now.best, now.best_epoch = score, now.epoch
        self.measure()
        found = {"images_per_second": now.images_per_second and round(now.images_per_second, 1),
                 "memory_mib": round(now.memory / MIB), "gpu_mib": now.gpu and round(now.gpu / MIB)}
        whole = {**entry, **{name: number for name, number in found.items() if number is not None}}
        self.trackers.log(now.epoch, {self.metric.name if name == "score" else name: number
                                      for name, number in whole.items() if name not in ("fold", "epoch", "left")})
        return whole

    def end_fold(self) -> None:
        """Whether it went well or not."""
        self.trackers.finish()

    def stand(self, now: float) -> None:
        """Bring up to date what is shown. now: by the clock."""
        self.measure()
        standing = self.standing
        standing.share, standing.loss = self.batch / self.batches, self.total / max(self.images, 1)
        standing.epoch_left = self.trained * (1 / standing.share - 1)
        assert self.fold_began is not None
        began, share = self.fold_began
        whole = (now - began) / (standing.fold_share - share)  # seconds of a fold
        standing.fold_left = whole * (1 - standing.fold_share)
        standing.run_left = standing.fold_left + whole * (standing.folds - standing.place - 1)

    def measure(self) -> None:
        """Speed and memory."""
        self.standing.images_per_second = self.images / self.trained if self.trained else None
        self.standing.memory = resident_memory()
        self.standing.gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def resident_memory() -> int:
    """Bytes of this process that are in memory; 0 where nothing tells."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
