"""Train a run: every fold, its out-of-fold predictions, and the record of what was measured. Resumes by fold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch

from foldpack.competitions.adapters import find_adapter
from foldpack.data.rows import Rows
from foldpack.data.runs import (
    FoldMeta,
    RunMeta,
    append_log,
    checkpoint_path,
    gallery_path,
    oof_digest,
    read_oof,
    write_array,
    write_meta,
    write_oof,
    write_oof_rows,
)
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.plugin import find_metric
from foldpack.models.checkpoint import CheckpointInfo, read_checkpoint, save_checkpoint
from foldpack.models.classifier import ModelError
from foldpack.models.gallery import Gallery, GalleryInfo, read_gallery, save_gallery
from foldpack.models.own_network import own_network
from foldpack.predict.views import expand_views
from foldpack.settings.run import RunConfig, config_hash, config_text
from foldpack.train.averaging.kept_epochs import KeptEpochs
from foldpack.train.checks import (
    changed_settings,
    check_names,
    check_sampling,
    check_scores,
    chosen_folds,
    part_of,
    settled_run,
    tell_metric,
)
from foldpack.train.dataset import TrainingSet
from foldpack.train.device.accelerator import meet_processes
from foldpack.train.device.processes import alone, one_voice, speaks, told_by_first
from foldpack.train.evaluate import FoldResult
from foldpack.train.extra_labels.begin import run_origin
from foldpack.train.fit import fit_fold
from foldpack.train.load import CACHE, Where, load_training_set
from foldpack.train.loop.finished import fold_fault, remove_rests, tell_and_keep, what_is_kept
from foldpack.train.loop.lock import FINISHING, RunLock, require_alone
from foldpack.train.loop.room import require_room
from foldpack.train.loop.states import FoldStates, StateInfo, data_digest, library_versions, state_folder
from foldpack.train.steps import STEPS
from foldpack.train.watch.lines import told_line
from foldpack.train.watch.trackers import Trackers
from foldpack.train.watch.watch import Show, Watch

Say = Callable[[str], None]


def train_run(config: RunConfig, data_root: Path, folds_csv: Path, runs: Path, say: Say = print,
              show: Show | None = None, only: Sequence[int] | None = None) -> RunMeta | None:
    """Train the folds of a run and write `runs/<run>/`. Finished folds of the same configuration are kept.

    data_root: the competition's folder; show: draws how it stands, `training_bars`. only: some of the run's folds,
    where other processes train the others; whoever finds all of them finished, as the last one does, finishes the run,
    and the others get None. `only=[]` trains nothing, and finishes a run whose last trainer was killed before it did.

    Raises ConfigError, DataError, ModelError, TrainingError, and LockedError where another process trains one of them.
    """
    meet_processes(config)
    say = say if speaks() else quiet
    with one_voice():
        trainer, chosen = open_run(config, Where(data_root, folds_csv, runs, shared=not alone()), say)
    trainer.watch.show = show
    wanted = chosen if only is None else part_of(chosen, only, config)
    try:
        told_by_first(partial(trainer.begin, wanted))
        train_folds(trainer, wanted, say)
        return told_by_first(lambda: trainer.finish(chosen) if only is None else trainer.finish_whole(chosen))
    except KeyboardInterrupt:
        kept = what_is_kept(trainer.folder, wanted, trainer.reached)
        say(f"{config.run}: stopped; {kept}; the same command goes on from there")
        raise
    finally:
        trainer.lock.free()


def train_folds(trainer: RunTrainer, folds: Sequence[int], say: Say) -> None:
    """Train those that are not finished."""
    started = time.monotonic()
    trained = 0
    for position, fold in enumerate(folds):
        if told_by_first(partial(trainer.fold_is_finished, fold)):
            say(f"{trainer.config.run} fold {fold}: finished before, kept")
            continue
        trainer.train_fold(fold, position)
        trained += 1
        left = (time.monotonic() - started) / trained * (len(folds) - position - 1)
        say(f"{trainer.config.run}: {position + 1} of {len(folds)} folds{f', about {left:.0f} s left' if left else ''}")


def quiet(text: str) -> None:
    """What a process says that is not the first."""


def open_run(config: RunConfig, where: Where, say: Say = print) -> tuple[RunTrainer, list[int]]:
    """A run with its data, in which nothing is wrong that can be known before the first epoch, and its folds.

    Nothing is written but decoded images. Raises ConfigError, DataError, ModelError.
    """
    competition = find_adapter(config.competition)
    check_names(config, competition, where.here)
    tell_metric(config, competition, say)
    config = settled_run(config, where.runs / config.run, say)
    config = config.model_copy(update={"views": expand_views(config.views)})  # groups are spelled out from here on
    data = load_training_set(config, competition, where.data, where.folds_csv, say, where.cache or where.runs / CACHE,
                             where.shared, where.here)
    chosen = chosen_folds(config, data.fold, where.folds_csv)
    check_scores(config, data, chosen, where.folds_csv)
    check_sampling(config, data, chosen)
    folder = where.runs / config.run
    watch = Watch(config, len(chosen), trackers=Trackers(config, folder, competition.name, say))
    return RunTrainer(config, data, folder, sha256_file(where.folds_csv), say, watch), chosen


class RunTrainer:
    """The folder of one run while it is being trained."""

    def __init__(self, config: RunConfig, data: TrainingSet, folder: Path, folds_sha256: str, say: Say,
                 watch: Watch | None = None) -> None:
        self.watch = watch or Watch(config, 1)
        self.config = config
        self.learn_from(data)
        self.folder = folder
        self.folds_sha256 = folds_sha256
        self.say = say
        self.tell: Callable[[dict[str, object]], None] | None = None  # gets what goes to log.jsonl
        self.lock = RunLock(folder, say)
        self.reached: dict[int, FoldStates] = {}  # of folds whose training was begun here

    def learn_from(self, data: TrainingSet) -> None:
        """Take a training set, and what follows from it."""
        self.data, self.data_sha256 = data, data_digest(data)
        self.task = STEPS[data.task](self.config, data)

    def begin(self, folds: Sequence[int] = ()) -> None:
        """Make the folder, say what will be trained anew, and hold the folds that this process will train.

        The run is unfinished from here on. Raises LockedError, where another process trains one of them, or, with
        another configuration, any fold, and DataError where the disk has not enough room; nothing is changed then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock.take([FINISHING], wait=True)  # one process at a time begins
        try:
            self._begin(folds)
        finally:
            self.lock.free([FINISHING])

    def _begin(self, folds: Sequence[int]) -> None:
        self.lock.take(folds)
        lost = {fold: self.fault(fold) for fold in folds}
        require_room(self.config, self.data, self.task, self.folder, [fold for fold in folds if lost[fold] is not None])
        if changed := changed_settings(self.folder / "config.yml", self.config):
            require_alone(self.lock, self.data.fold.tolist(), changed)
        for line in tell_and_keep(self.config.run, self.folder, changed, lost):
            self.say(line)
        (self.folder / "meta.json").unlink(missing_ok=True)
        write_atomic(self.folder / "config.yml", config_text(self.config))

    def part(self, fold: int) -> Path:
        """What is predicted of one fold, kept until the run is finished and after, for resuming with more folds."""
        return self.folder / f"fold{fold}.oof"

    def fold_is_finished(self, fold: int) -> bool:
        """Whether weights and predictions of this very configuration and data are there, whole and finite."""
        return self.fault(fold) is None

    def fault(self, fold: int) -> str | None:
        """Why a fold is not finished: None for one that is, "" for one that never was."""
        path = checkpoint_path(self.folder, fold)
        if not path.exists():
            return ""
        shape = (int((self.data.fold == fold).sum()), self.task.width)
        try:
            self.gallery(fold)
            return fold_fault(read_checkpoint(path)[1], self.identity(fold), self.views(fold),
                              [shape] * len(self.config.views), oof_digest(self.part(fold)))
        except (ModelError, DataError) as failure:
            return str(failure)

    def train_fold(self, fold: int, place: int = 0) -> None:
        """Train, then write predictions first and weights last: they mark the fold as finished. Of several processes
        the first one writes. place: of the fold among the run's."""
        with self.holding(fold):
            self._train_fold(fold, place)

    @contextmanager
    def holding(self, fold: int) -> Iterator[None]:
        """While this process alone trains a fold. Of several that do so together the first one holds it."""
        if fold in self.lock.held or not speaks():
            yield
            return
        self.lock.take([fold])
        try:
            require_room(self.config, self.data, self.task, self.folder, [fold])
            yield
        finally:
            self.lock.free([fold])

    def clear_fold(self, fold: int) -> None:
        """A fold is unfinished from here on, and nothing of it half written."""
        checkpoint_path(self.folder, fold).unlink(missing_ok=True)
        remove_rests(self.folder, fold)

    def _train_fold(self, fold: int, place: int) -> None:
        told_by_first(partial(self.clear_fold, fold))
        kept = KeptEpochs(self.folder, fold, self.config.keep, find_metric(self.config.metric))
        states = FoldStates(state_folder(self.folder, fold), self.identity(fold), self.say, kept.clear)
        self.reached[fold] = states
        self.watch.begin_fold(fold, place)
        try:
            result = fit_fold(self.config, self.data, fold, self.log,
                              lambda result: kept.offer(result.weights, self.info(fold, result)) if speaks() else None,
                              self.watch if speaks() else None, states)
        finally:
            self.watch.end_fold()
        told_by_first(lambda: self.write_fold(fold, result, states))

    def write_fold(self, fold: int, result: FoldResult, states: FoldStates) -> None:
        """Write what a fold has come to, and forget how it came there."""
        write_oof(self.part(fold), result.views, self.config.oof_dtype)
        self.save_weights(fold, result.weights, self.info(fold, result), result.gallery)
        self.log({"fold": fold, "best_epoch": result.epoch, "best_score": round(result.score, 6),
                  "seconds_per_image": result.seconds_per_image,
                  **self.task.measures(result.views, fold, result.gallery)})
        states.remove()

    def identity(self, fold: int) -> StateInfo:
        """What decides the weights of a fold."""
        return StateInfo(run=self.config.run, fold=fold, config_sha256=config_hash(self.config),
                         folds_sha256=self.folds_sha256, data_sha256=self.data_sha256, reader=self.data.reader,
                         images_sha256=self.data.images_sha256, libraries=library_versions())

    def save_weights(self, fold: int, weights: dict[str, torch.Tensor], info: CheckpointInfo,
                     gallery: Gallery | None) -> None:
        """Write a fold's checkpoint, bound to the predictions that are there, and the gallery that is bound to it."""
        path = checkpoint_path(self.folder, fold)
        told = {"oof_sha256": oof_digest(self.part(fold)), "data_sha256": self.data_sha256,
                "images_sha256": self.data.images_sha256}
        save_checkpoint(path, weights, info.model_copy(update=told))
        if gallery is not None:
            bound = GalleryInfo(run=info.run, fold=fold, checkpoint=sha256_file(path))
            save_gallery(gallery_path(self.folder, fold), gallery, bound)

    def gallery(self, fold: int) -> Gallery | None:
        """The gallery of a fold; None where the task has none. Raises ModelError for one of other weights."""
        if not self.task.has_gallery:
            return None
        return read_gallery(gallery_path(self.folder, fold), sha256_file(checkpoint_path(self.folder, fold)))

    def views(self, fold: int) -> list[Rows]:
        """What is predicted of a fold, by view. Raises DataError."""
        return read_oof(self.part(fold), self.data.task)

    def answers(self, fold: int) -> np.ndarray:
        """What the metric is asked about, for the items of a fold."""
        return self.task.answers(self.views(fold), self.gallery(fold))

    def info(self, fold: int, result: FoldResult) -> CheckpointInfo:
        """What the checkpoint says of itself."""
        return CheckpointInfo(run=self.config.run, fold=fold, epoch=result.epoch, score=result.score,
                              n_classes=self.task.width, head=self.task.head, net=self.config.net,
                              config_sha256=config_hash(self.config), folds_sha256=self.folds_sha256,
                              seconds_per_image=result.seconds_per_image, golden=result.golden, reader=self.data.reader)

    def log(self, entry: dict[str, object]) -> None:
        """To log.jsonl with what was measured and, in short, to the terminal."""
        if not speaks():
            return
        if "epoch" in entry:
            entry = self.watch.end_epoch(entry)
        append_log(self.folder, entry)
        if self.tell is not None:
            self.tell(entry)
        if (line := told_line(self.config.run, self.config.metric, entry)) is not None:
            self.say(line)

    def finish(self, folds: list[int]) -> RunMeta:
        """Join the folds' predictions and write oof/, oof.csv, targets.npy and, last, meta.json. One process at a time
        does so; the others wait."""
        self.lock.take([FINISHING], wait=True)
        try:
            return self._finish(folds)
        finally:
            self.lock.free([FINISHING])

    def finish_whole(self, folds: Sequence[int]) -> RunMeta | None:
        """`finish`, where all folds are finished, whoever has trained them; else None."""
        missing = [fold for fold in folds if not self.fold_is_finished(fold)]
        if not missing:
            return self.finish(list(folds))
        self.say(f"{self.config.run}: {len(folds) - len(missing)} of {len(folds)} folds are finished, and not "
                 f"{', '.join(map(str, missing))}; the run is finished with the last of them")
        return None

    def _finish(self, folds: list[int]) -> RunMeta:
        rows = [np.flatnonzero(self.data.fold == fold) for fold in folds]
        order = np.argsort(np.concatenate(rows), kind="stable")
        taken = np.concatenate(rows)[order]
        views = [Rows.joined(parts).pick(order) for parts in zip(*map(self.views, folds), strict=True)]
        answer = None if self.data.answer is None else [self.data.answer[row] for row in taken]
        write_oof_rows(self.folder / "oof.csv", [self.data.ids[row] for row in taken], self.data.fold[taken], answer)
        oof_sha256 = write_oof(self.folder / "oof", views, self.config.oof_dtype)
        targets_sha256 = write_array(self.folder / "targets.npy", self.data.truths[taken])
        infos = [read_checkpoint(checkpoint_path(self.folder, fold))[1] for fold in folds]
        metas = [FoldMeta(fold=info.fold, items=len(inside), score=info.score, epoch=info.epoch,
                          sha256=sha256_file(checkpoint_path(self.folder, info.fold)),
                          gallery=sha256_file(gallery_path(self.folder, info.fold)) if self.task.has_gallery else None)
                 for info, inside in zip(infos, rows, strict=True)]
        metric = find_metric(self.config.metric)
        answers = np.concatenate([self.answers(fold) for fold in folds])[order]
        meta = RunMeta(
            run=self.config.run, competition=self.config.competition, task=self.data.task,  # type: ignore[arg-type]
            classes=self.data.classes, prior=self.data.prior(), none=self.data.none,
            embed=self.config.embed if self.task.has_gallery else None, range=self.config.range,
            size=self.config.net.size,
            network=self.config.net.arch if own_network(self.config.net) else None,
            canvas=self.config.net.canvas, decoder=self.config.net.decoder, geometry=self.config.net.geometry,
            channels=self.config.net.channels, start=run_origin(self.config), views=self.config.views,
            merge=self.config.merge, metric=self.config.metric, score=self.task.score(metric, taken, answers),
            folds=metas,
            seconds_per_image=float(np.mean([info.seconds_per_image for info in infos])),
            reader=self.data.reader,
            config_sha256=config_hash(self.config), folds_sha256=self.folds_sha256, oof_sha256=oof_sha256,
            doubts=[] if self.data.more is None else self.data.more.doubts,
            targets_sha256=targets_sha256, versions={"torch": torch.__version__, "timm": timm.__version__})
        write_meta(self.folder, meta)
        self.say(f"{self.config.run}: oof {metric.name} {meta.score:.4f} over {len(taken)} items, "
                 f"{pd.Series([m.score for m in metas]).round(4).tolist()} by fold")
        return meta
