"""Folds of several runs, trained by a pool; a run is finished here once all its folds are there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foldpack.data.runs import RunMeta
from foldpack.errors import DataError, FoldpackError
from foldpack.models.classifier import ModelError
from foldpack.settings.run import RunConfig
from foldpack.train.cluster.connect import read_cluster
from foldpack.train.cluster.orders import ClusterError, Order, Outcome
from foldpack.train.cluster.pool import Pool
from foldpack.train.cluster.table import Board
from foldpack.train.cluster.workers import blank_order, plain_config, seen_from_afar, workers
from foldpack.train.load import Where
from foldpack.train.run import RunTrainer, open_run

Say = Callable[[str], None]
SEEN_SECONDS = 40.0  # NFS may take 30, `acdirmin`, to see a new file
LOOK = 1.0  # seconds between two looks for it


@dataclass
class OpenRun:
    """A run whose folds are trained elsewhere."""

    trainer: RunTrainer
    folds: list[int]
    missing: set[int]  # folds that are not there yet
    lost: set[int] = field(default_factory=set)  # rows of images that are broken and left out


def train_on_cluster(configs: Sequence[RunConfig], where: Where, cluster: str) -> list[RunMeta]:
    """Train runs on a cluster; of one that fails no more folds are begun, and the others go on.

    cluster: as of `read_cluster`. Raises ClusterError, ConfigError, DataError, ModelError.
    """
    near = read_cluster(cluster).own
    with Board() as board:
        runs = ClusterRuns(configs, where, near, board)
        opened = [run.trainer for run in runs.runs.values()]
        with workers(cluster, runs.blank, opened, board) as pool:
            return runs.train(pool)


class ClusterRuns:
    """The runs of one command."""

    def __init__(self, configs: Sequence[RunConfig], where: Where, near: bool, board: Board) -> None:
        """Open all runs and look for what is wrong, before any is trained. near: all workers are on this machine.

        Raises ConfigError, DataError, ModelError.
        """
        self.board, where = board, seen_from_afar(where)
        self.blank = blank_order(where, near)
        self.runs: dict[str, OpenRun] = {}
        for config in configs:
            trainer, folds = open_run(config, where, board.say)
            self.runs[config.run] = OpenRun(trainer, folds, set(folds))

    def orders(self) -> Iterator[Order]:
        """All folds, run by run; of a run that has failed no more."""
        for name, run in list(self.runs.items()):
            for fold in run.folds:
                if name in self.runs:
                    yield replace(self.blank, name=f"{name} fold {fold}", do="fold", folds=[fold],
                                  configs=[plain_config(run.trainer.config)])

    def train(self, pool: Pool) -> list[RunMeta]:
        """Have all folds trained. Raises the first error, once all that others can still do is done; LockedError
        where another process trains one of them, and nothing is changed."""
        self.begin()
        self.board.expect(order.name for order in self.orders())
        failures, metas = [], []
        for order, outcome in pool.carry_out(self.orders(), self.board.event):
            name = order.configs[0]["run"]
            self.board.ended(order, outcome)
            if outcome.result is not None and name in self.runs:
                try:
                    metas += self.fold_done(self.runs[name], order.folds[0], outcome.result)
                except (FoldpackError, OSError) as wrong:
                    outcome = Outcome(error=str(wrong))
                    self.board.ended(order, outcome)
            if outcome.error is not None or outcome.bug is not None:
                failures.append(self.failed(pool, name, order, outcome))
        for failure in failures:
            raise failure
        if lacking := [f"{name} fold {fold}" for name, run in self.runs.items() for fold in sorted(run.missing)]:
            raise ClusterError(f"{', '.join(lacking)}: not trained; what is finished is kept: run the command again")
        return metas

    def begin(self) -> None:
        """Make the folders, while nobody trains these folds. The workers hold them from then on. Raises LockedError."""
        trainers = [run.trainer for run in self.runs.values()]
        try:
            for run in self.runs.values():
                run.trainer.folder.mkdir(parents=True, exist_ok=True)
                run.trainer.lock.take(run.folds)
            for trainer in trainers:
                trainer.begin()
        finally:
            for trainer in trainers:
                trainer.lock.free()

    def failed(self, pool: Pool, name: str, order: Order, outcome: Outcome) -> Exception:
        """Its other folds are not begun or stopped; other runs go on."""
        self.runs.pop(name, None)
        for other in list(pool.in_work.values()):
            if other.configs[0]["run"] == name:
                pool.stop(other.name)
        self.board.say(f"{order.name}: failed: {outcome.error or outcome.bug}")
        return ClusterError(f"{order.name}: {outcome.error}") if outcome.error else RuntimeError(outcome.bug)

    def fold_done(self, run: OpenRun, fold: int, result: dict[str, Any]) -> list[RunMeta]:
        """One fold is there; with the last one the run is finished."""
        run.missing.discard(fold)
        run.lost |= set(result["lost"])
        if result["kept"]:
            self.board.say(f"{run.trainer.config.run} fold {fold}: finished before, kept")
        if run.missing:
            return []
        if run.lost:
            run.trainer.learn_from(run.trainer.data.without(run.lost))
        return [finished(run)]


def finished(run: OpenRun) -> RunMeta:
    """Finish a run, once this machine sees what others have written: a folder that is shared may be seconds behind."""
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            return run.trainer.finish(run.folds)
        except (DataError, ModelError, OSError):
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK)
        os.listdir(run.trainer.folder)  # NFS asks its server again
