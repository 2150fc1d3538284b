"""Tuning of a run's configuration by optuna: trials trained by a pool of workers, each stopped where it lags behind.

Only this process talks to the study, so workers need not reach it; several of these may share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.plugin import find_metric
from foldpack.search.studies import open_study
from foldpack.settings.run import NOT_HASHED, ConfigError, RunConfig, parse_config, read_text
from foldpack.settings.strict_yaml import dump_strict, load_strict
from foldpack.train.checks import chosen_folds
from foldpack.train.cluster.connect import read_cluster
from foldpack.train.cluster.orders import Event, Order, Outcome
from foldpack.train.cluster.pool import Pool
from foldpack.train.cluster.table import Board
from foldpack.train.cluster.workers import blank_order, plain_config, seen_from_afar, workers
from foldpack.train.load import Where
from foldpack.train.run import open_run
from foldpack.train.tune.report import report_lines
from foldpack.train.tune.space import Dimension, Plain, changed, own_values, read_space, told_values

if TYPE_CHECKING:
    import optuna

STARTUP = 5  # trials that end in full before the median stops others
# Attributes of a trial: why it failed; who has it in work; when that one was last heard of, in seconds since 1970.
ERROR, BY, ALIVE = "error", "by", "alive"
BEAT = 60.0  # seconds between two signs of life
SILENT = 900.0  # seconds without one, after which a trial is somebody else's


@dataclass(frozen=True)
class TuneWish:
    """What the command asks for."""

    config: Path
    space: Path
    trials: int  # of the study, those of earlier and other processes counted
    folds: list[int]
    study: str | None = None  # a file or a URL; None: a journal beside the runs
    name: str | None = None  # of the study; None: the run's
    pruner: str = "median"
    out: Path | None = None  # the best configuration; None: beside the one that was given


def tune(wish: TuneWish, where: Where, cluster: str | None) -> Path | None:
    """Have trials trained and write the best configuration. Returns its file; None where no trial was finished.

    Raises ConfigError, DataError, ClusterError, ModelError before the first trial.
    """
    base = load_strict(read_text(wish.config), str(wish.config))
    config = parse_config(base, wish.config)
    space = read_space(wish.space, cast(Plain, base), wish.config)
    near = cluster is None or read_cluster(cluster).own
    with Board() as board:
        where = seen_from_afar(where)
        trainer, _ = open_run(config.model_copy(update={"folds": None}), where, board.say)
        folds = chosen_folds(config.model_copy(update={"folds": wish.folds}), trainer.data.fold, where.folds_csv)
        study = kept_study(wish, where, config, space, folds)
        trials = Trials(wish, cast(Plain, base), config, space, study, folds, board)
        trials.enqueue()
        with workers(cluster, blank_order(where, near), [trainer], board) as pool:
            trials.run(pool, blank_order(where, near))
    print("\n".join(report_lines(study, config.metric, folds)))
    return trials.write_best(wish.out or wish.config.with_name(f"{config.run}_tuned.yml"))


def kept_study(wish: TuneWish, where: Where, config: RunConfig, space: list[Dimension],
               folds: list[int]) -> optuna.Study:
    """The study, with its sampler and pruner. Raises DataError for one of another configuration, space or data."""
    place = wish.study or str(where.runs / ".tune" / f"{config.run}.journal")
    name = wish.name or config.run
    rest = changed(config.model_dump(mode="json"), {dimension.key: None for dimension in space})
    decides = {key: value for key, value in rest.items() if key not in NOT_HASHED}
    ranges = {one.key: one.config.model_dump(mode="json") for one in space}
    told = [decides, ranges, folds, sha256_file(where.folds_csv)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    study = open_study(place, f"tune/{name}", digest, "settings, ranges or folds",
                       "maximize" if find_metric(config.metric).greater_is_better else "minimize")
    import optuna

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    from foldpack.train.tune.sampler import NumberedTPE

    study.sampler = NumberedTPE()
    study.pruner = {"median": lambda: optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
                    "hyperband": lambda: optuna.pruners.HyperbandPruner(
                        max_resource=most_epochs(space, config) * len(folds)),
                    "none": optuna.pruners.NopPruner}[wish.pruner]()
    return study


def most_epochs(space: list[Dimension], config: RunConfig) -> int:
    """The largest number of epochs that a fold of a trial may have."""
    return int(max([config.epochs, *(value for one in space if one.key == "epochs" for value in one.examples())]))


@dataclass
class InWork:
    """A trial that is being trained."""

    trial: optuna.Trial
    started: float
    steps: int = 0  # epochs that were reported
    best: dict[int, float] = field(default_factory=dict)  # fold -> its best score so far
    lags: bool = False


class Trials:
    """The trials of this process."""

    def __init__(self, wish: TuneWish, base: Plain, config: RunConfig, space: list[Dimension], study: optuna.Study,
                 folds: list[int], board: Board) -> None:
        """base: the configuration as plain data, config: as it is read."""
        self.wish, self.base, self.config, self.space, self.study = wish, base, config, space, study
        self.folds, self.board, self.most = folds, board, most_epochs(space, config)
        self.better = max if study.direction.name == "MAXIMIZE" else min
        self.in_work: dict[str, InWork] = {}

    def enqueue(self) -> None:
        """First what a process that died had in work, then the configuration's own values."""
        self.take_back()
        own = own_values(self.space, self.config)
        if own is not None and not self.study.trials:
            self.study.enqueue_trial(own)

    def take_back(self) -> None:
        """What processes had in work that are dead is tried again."""
        import optuna

        own = {one.trial.number for one in self.in_work.values()}
        for trial in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            if trial.number not in own and is_dead(trial):
                self.put_back(trial.number, trial.params)

    def put_back(self, number: int, params: dict[str, Any]) -> None:
        """A trial that was broken off is tried again, and not counted."""
        import optuna

        with contextlib.suppress(ValueError, RuntimeError):  # somebody else has done so, at the same time
            self.study.tell(number, state=optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(params)

    def run(self, pool: Pool, blank: Order) -> None:
        """Train trials until the study has as many as it should."""
        done = threading.Event()
        beating = threading.Thread(target=self.beat, args=(done,), daemon=True)
        beating.start()
        try:
            for order, outcome in pool.carry_out(self.orders(blank), partial(self.heard, pool)):
                self.ended(order, outcome)
        finally:
            done.set()
            beating.join()
            for one in self.in_work.values():  # Ctrl-C
                self.put_back(one.trial.number, one.trial.params)

    def beat(self, done: threading.Event) -> None:
        """Say again and again which trials this process has in work."""
        while not done.wait(BEAT):
            for one in list(self.in_work.values()):
                with contextlib.suppress(Exception):  # it has just ended, or the database is not there for once
                    one.trial.set_user_attr(ALIVE, time.time())

    def counted(self) -> int:
        """Trials that have a result, failed for their values, or are in work somewhere."""
        self.take_back()
        return sum(trial.state.name in ("COMPLETE", "PRUNED", "RUNNING") or ERROR in trial.user_attrs
                   for trial in self.study.get_trials(deepcopy=False))

    def orders(self, blank: Order) -> Iterator[Order]:
        """A trial whenever somebody is free."""
        while self.counted() < self.wish.trials:
            trial = self.study.ask()
            trial.set_user_attr(ALIVE, time.time())
            trial.set_user_attr(BY, f"{socket.gethostname()} {os.getpid()}")
            values = {dimension.key: dimension.suggest(trial) for dimension in self.space}
            name = f"trial {trial.number}"
            self.board.say(f"{name}: {', '.join(told_values(values))}")
            self.in_work[name] = InWork(trial, time.monotonic())
            order = replace(blank, name=name, do="trial", folds=self.folds, configs=[{"metric": self.base["metric"]}])
            try:
                config = parse_config(changed(self.base, values | {"folds": None}), name)
            except ConfigError as failure:
                self.ended(order, Outcome(error=str(failure)))
                continue
            yield replace(order, configs=[plain_config(config)])

    def heard(self, pool: Pool, order: Order, event: Event) -> None:
        """Tell the study of an epoch; stop the trial where it lags behind others."""
        self.board.event(order, event)
        one, entry = self.in_work.get(order.name), event.get("entry", {})
        if one is None or one.lags or "score" not in entry:
            return
        fold, score = entry["fold"], entry["score"]
        step = self.folds.index(fold) * self.most + entry["epoch"]  # the same for all trials, whatever their epochs
        if step < one.steps:  # its worker has died, and another one repeats what was told already
            return
        if self.is_taken(one):
            return pool.stop(order.name)
        others = [best for other, best in one.best.items() if other != fold]
        one.trial.report((sum(others) + score) / (len(others) + 1), step)
        one.steps, one.best[fold] = step + 1, self.better(score, one.best.get(fold, score))
        if one.trial.should_prune():
            one.lags = True
            pool.stop(order.name)

    def ended(self, order: Order, outcome: Outcome) -> None:
        """Tell the study how a trial ended."""
        import optuna

        one = self.in_work.pop(order.name)
        if self.is_taken(one):
            self.board.say(f"{order.name}: nothing was heard of it for {SILENT:.0f} s, and it was begun anew")
            return self.board.ended(order, Outcome(stopped=True))
        one.trial.set_user_attr("seconds", round(time.monotonic() - one.started, 1))
        if outcome.result is not None:
            score = sum(outcome.result["scores"]) / len(outcome.result["scores"])
            one.trial.set_user_attr("epochs", outcome.result["epochs"])
            self.study.tell(one.trial, score)
            self.board.say(f"{order.name}: {self.base['metric']} {score:.4f}")
            self.board.ended(order, outcome)
        elif one.lags:
            self.study.tell(one.trial, state=optuna.trial.TrialState.PRUNED)
            self.board.say(f"{order.name}: stopped, it lags behind the median of others" if
                           self.wish.pruner == "median" else f"{order.name}: stopped, it lags behind others")
            self.board.ended(order, outcome, "pruned")
        else:
            text = outcome.error or (outcome.bug or "stopped").strip().splitlines()[-1]
            one.trial.set_user_attr(ERROR, text[:500])
            self.study.tell(one.trial, state=optuna.trial.TrialState.FAIL)
            self.board.say(f"{order.name}: failed: {text}")
            self.board.ended(order, outcome)

    def is_taken(self, one: InWork) -> bool:
        """Whether another process has put back a trial that this one has in work: this machine may have slept."""
        return self.study.get_trials(deepcopy=False)[one.trial.number].state.is_finished()

    def write_best(self, path: Path) -> Path | None:
        """The best configuration, ready to be trained. None where no trial has come to its end."""
        with contextlib.suppress(ValueError):
            best = self.study.best_trial
            values = {one.key: one.labels()[best.params[one.key]] if one.config.choice is not None
                      else best.params[one.key] for one in self.space}
            whole = changed(self.base, values | {"run": f"{self.base['run']}_tuned"})
            parse_config(whole, path)
            told = f"# found by foldpack tune: trial {best.number} of {len(self.study.trials)}, " \
                   f"{self.base['metric']} {best.value:.4f} on fold {', '.join(map(str, self.folds))}\n"
            write_atomic(path, told + dump_strict(whole))
            return path
        return None


def is_dead(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial's process was one of this machine and is gone, or has not been heard of for long."""
    begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    if time.time() - trial.user_attrs.get(ALIVE, begun) > SILENT:
        return True
    host, _, process = trial.user_attrs.get(BY, "").rpartition(" ")
    if host != socket.gethostname():
        return False
    with contextlib.suppress(PermissionError):  # it is there, and somebody else's
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
    return False
