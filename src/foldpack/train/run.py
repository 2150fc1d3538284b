"""Train a run: every fold, its out-of-fold predictions, and the record of what was measured. Resumes by fold."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch

from foldpack.competitions.adapters import answer_form, find_adapter
from foldpack.competitions.protocol import Competition, require_images
from foldpack.data.decode import PILLOW
from foldpack.data.depth import depth_warning
from foldpack.data.folds import read_folds
from foldpack.data.geometry import canvas_kind, input_shape
from foldpack.data.items import Items
from foldpack.data.readers.protocol import reader_record
from foldpack.data.rows import Rows
from foldpack.data.runs import (
    FoldMeta,
    RunMeta,
    append_log,
    checkpoint_path,
    gallery_path,
    read_oof,
    write_array,
    write_meta,
    write_oof,
    write_oof_rows,
)
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.answers import answer_problem, task_answers
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import METRICS
from foldpack.models.checkpoint import CheckpointInfo, read_checkpoint, save_checkpoint
from foldpack.models.classifier import ModelError, build_classifier, require_output
from foldpack.models.gallery import Gallery, GalleryInfo, read_gallery, save_gallery
from foldpack.models.own_network import own_network
from foldpack.models.start import settle_start, weights_origin
from foldpack.predict.views import expand_views, parse_view, require_inputs
from foldpack.settings.network import height_width
from foldpack.settings.run import ConfigError, RunConfig, config_hash, config_text, read_config
from foldpack.train.augment.image import require_augmentation, seen_net
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import is_defined
from foldpack.train.fit import FoldResult, build_optimizer, fit_fold
from foldpack.train.freezing import Freezing
from foldpack.train.images.source import TrainingImages, open_images
from foldpack.train.losses.registry import require_loss
from foldpack.train.rates import build_scheduler, check_schedule
from foldpack.train.sampling import build_order, item_weights
from foldpack.train.steps import STEPS, can_follow
from foldpack.train.targets import number_columns, training_targets, training_task

Say = Callable[[str], None]
CACHE = ".decoded"  # beside the runs: decoded images, which they share
MIN_TRAINING_ITEMS = 2  # batch statistics of a single item are not defined


def train_run(config: RunConfig, data_root: Path, folds_csv: Path, runs: Path, say: Say = print) -> RunMeta:
    """Train all folds of a run and write `runs/<run>/`. Finished folds of the same configuration are kept.

    data_root: the competition's folder. Raises ConfigError, DataError, ModelError, TrainingError.
    """
    competition = find_adapter(config.competition)
    check_names(config, competition)
    tell_metric(config, competition, say)
    config = settled_run(config, runs / config.run, say)
    config = config.model_copy(update={"views": expand_views(config.views)})  # groups are spelled out from here on
    data = load_training_set(config, competition, data_root, folds_csv, say, runs / CACHE)
    chosen = chosen_folds(config, data.fold, folds_csv)
    check_scores(config, data, chosen, folds_csv)
    check_sampling(config, data, chosen)
    folder = runs / config.run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").unlink(missing_ok=True)  # the run is unfinished from here on
    write_atomic(folder / "config.yml", config_text(config))
    trainer = RunTrainer(config, data, folder, sha256_file(folds_csv), say)
    started = time.monotonic()
    trained = 0
    for position, fold in enumerate(chosen):
        if trainer.fold_is_finished(fold):
            say(f"{config.run} fold {fold}: finished before, kept")
            continue
        trainer.train_fold(fold)
        trained += 1
        left = (time.monotonic() - started) / trained * (len(chosen) - position - 1)
        say(f"{config.run}: {position + 1} of {len(chosen)} folds{f', about {left:.0f} s left' if left else ''}")
    return trainer.finish(chosen)


def settled_run(config: RunConfig, folder: Path, say: Say = print) -> RunConfig:
    """The configuration with what its weights to start from decide: `settle_start`. folder: of the run.

    Raises ConfigError where it began with weights that are not there any more: its folds would start from scratch.
    """
    net = settle_start(config.net, lambda text: say(f"{config.run}: {text}"))
    if config.net.pretrained and not net.pretrained and (folder / "config.yml").exists():
        before = read_config(folder / "config.yml").net.pretrained
        if before:
            raise ConfigError(f"run '{config.run}': {folder} began with weights that are not there now, "
                              f"{before.name}; install them again, or give the run another name")
    return config.model_copy(update={"net": net})


def check_names(config: RunConfig, competition: Competition) -> None:
    """Every name in the configuration exists and fits the task, before anything is decoded or trained."""
    metric, task = find_metric(config.metric), training_task(config, competition.task)
    if not can_follow(task, metric):
        raise ConfigError(f"metric '{metric.name}' of {metric.needs} does not fit the {task} competition "
                          f"'{competition.name}'; choose one of: {', '.join(metrics_of_task(task))}")
    require_loss(config.loss, task, weighted=config.weights.kind != "none")
    require_inputs(expand_views(config.views), config.net)
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError(f"run '{config.run}': precision fp16 needs a GPU, and there is none; allowed here: no, bf16")
    require_augmentation(config)
    net = build_classifier(config.net, 2, make=own_network(config.net))
    canvas = height_width(config.net.canvas or config.net.size)
    for side in config.augment.sides:
        require_output(config.net, net, 2, input_shape(seen_net(config), canvas, side))
    for view in map(parse_view, expand_views(config.views)):
        shape = input_shape(config.net, canvas, view.side)
        require_output(config.net, net, 2, shape[::-1] if view.turn[0] else shape)
    Freezing(config, net)
    check_schedule(config)
    build_scheduler(config, build_optimizer(config, net), updates_per_epoch=1)


def tell_metric(config: RunConfig, competition: Competition, say: Say) -> None:
    """Before hours of training: the best epoch may follow a metric that no kernel can be scored by, the search not."""
    handed_in = task_answers(training_task(config, competition.task))
    if problem := answer_problem(config.metric, find_metric(config.metric).answer, handed_in):
        say(f"warning: run '{config.run}': {problem}; the epochs follow it all the same, but the search will need "
            "--metric with one of these")


def metrics_of_task(task: str) -> list[str]:
    """The metrics that a run of this task can follow."""
    return sorted(name for name, metric in METRICS.items() if can_follow(task, metric))


def load_training_set(
    config: RunConfig, competition: Competition, root: Path, folds_csv: Path, say: Say = print,
    cache: Path = Path(CACHE)
) -> TrainingSet:
    """Join folds.csv (ids and folds) with images and truth; says which were damaged and repaired.

    cache: folder for decoded images that are kept on the disk. Broken images are an error, or left out, as the
    configuration says. Raises DataError.
    """
    table = read_folds(folds_csv)
    if not len(table):
        raise DataError(f"{folds_csv}: the table has no rows; make the folds with `foldpack folds`")
    whole = competition.train(root)
    labelled = whole.take(table["id"].tolist(), folds_csv)
    if (form := answer_form(competition)) is not None:
        form.check_names(labelled.classes)  # hours before the kernel would say so
    items = labelled.items
    require_images(items, folds_csv)
    for note in items.notes:
        say(f"warning: {note}")
    task = training_task(config, competition.task)
    targets, classes = training_targets(task, labelled)
    none, fold = labelled.none and task == "embed", table["fold"].to_numpy()
    require_whole_answers(items, targets, fold, folds_csv)
    images = open_images(items, canvas_kind(config.net), config.images, cache, say)
    tell_images(config, images, folds_csv, say)
    data = TrainingSet(items.ids, images.pixels, targets, fold, classes, task, none, items.answer,
                       reader_record(items.reader, PILLOW), number_columns(config, labelled, whole.source))
    return data.without(images.report.fallback) if images.broken else data


def tell_images(config: RunConfig, images: TrainingImages, folds_csv: Path, say: Say) -> None:
    """Says what was wrong with images. Raises DataError for broken ones that are not to be left out."""
    broken, repaired = images.broken, images.repaired
    if broken and config.broken == "error":
        raise DataError(f"{broken[0]}; {len(broken)} training images are broken: mend them, or set `broken: skip` "
                        f"in the YAML of the run, which leaves them out; without their rows in {folds_csv} it also "
                        "goes on, but a recipe writes that file anew")
    if broken:
        say(f"warning: {len(broken)} training images are broken; they are left out of the training and of the "
            f"out-of-fold predictions: {broken[0]}")
    if repaired:
        say(f"warning: {len(repaired)} training images are damaged and were repaired, such as {repaired[0]}")
    if warning := depth_warning(images.report.largest.values()):
        say(f"warning: {warning}")


def require_whole_answers(items: Items, targets: np.ndarray, fold: np.ndarray, folds_csv: Path) -> None:
    """Raises DataError for images that are answered together and lie in several folds, or have several labels."""
    if items.groups is None:
        return
    if parted := items.groups.parted(fold):
        raise DataError(f"{folds_csv}: the images of answer '{parted}' lie in several folds; make the folds again with "
                        "`foldpack folds`, which keeps them together")
    items.groups.truth(targets, folds_csv)


def chosen_folds(config: RunConfig, fold: np.ndarray, folds_csv: Path) -> list[int]:
    """The folds to train. Raises ConfigError for one that no item is in, DataError when too few items are left."""
    existing, sizes = np.unique(fold, return_counts=True)
    if len(existing) < 2 or len(fold) - sizes.max() < MIN_TRAINING_ITEMS:
        raise DataError(f"{folds_csv}: {len(fold)} items in folds {existing.tolist()} of {sizes.tolist()} items; at "
                        f"least 2 folds are needed, and {MIN_TRAINING_ITEMS} items outside each")
    if config.folds is None:
        return existing.tolist()
    strange = [k for k in config.folds if k not in existing]
    if strange or not config.folds:
        raise ConfigError(f"run '{config.run}': folds {config.folds}; {folds_csv} has {existing.tolist()}")
    return sorted(set(config.folds))


def check_scores(config: RunConfig, data: TrainingSet, folds: list[int], folds_csv: Path) -> None:
    """Raises ConfigError for a fold on which the metric is not defined, whatever is predicted there."""
    for fold in folds:
        inside = data.targets[data.fold == fold]
        if not is_defined(find_metric(config.metric), inside, len(data.classes)):
            raise ConfigError(f"{folds_csv}: metric '{config.metric}' is not defined on fold {fold}, whose "
                              f"{len(inside)} items are of {len(np.unique(inside))} class; make other folds, or choose "
                              "another metric")


def check_sampling(config: RunConfig, data: TrainingSet, folds: list[int]) -> None:
    """Raises ConfigError for a sampler or weights that do not fit the training items of a fold."""
    task = STEPS[data.task](config, data)
    for fold in folds:
        rows = task.learnable(np.flatnonzero(data.fold != fold))
        build_order(config, data, rows, fold)
        item_weights(config, data, rows)


class RunTrainer:
    """The folder of one run while it is being trained."""

    def __init__(self, config: RunConfig, data: TrainingSet, folder: Path, folds_sha256: str, say: Say) -> None:
        self.config = config
        self.data = data
        self.task = STEPS[data.task](config, data)
        self.folder = folder
        self.folds_sha256 = folds_sha256
        self.say = say

    def part(self, fold: int) -> Path:
        """What is predicted of one fold, kept until the run is finished and after, for resuming with more folds."""
        return self.folder / f"fold{fold}.oof"

    def fold_is_finished(self, fold: int) -> bool:
        """Whether weights and predictions of this very configuration, these folds and this reader are there."""
        path = checkpoint_path(self.folder, fold)
        if not path.exists():
            return False
        try:
            info = read_checkpoint(path)[1]
            shapes = [column.shape for view in self.views(fold) for column in view.columns.values()]
            self.gallery(fold)
        except (ModelError, DataError):
            return False
        expected = [(int((self.data.fold == fold).sum()), self.task.width)] * len(self.config.views)
        return (info.config_sha256 == config_hash(self.config) and info.folds_sha256 == self.folds_sha256
                and info.reader == self.data.reader and shapes == expected)

    def train_fold(self, fold: int) -> None:
        """Train, then write predictions first and weights last: they mark the fold as finished."""
        checkpoint_path(self.folder, fold).unlink(missing_ok=True)
        result = fit_fold(self.config, self.data, fold, self.log)
        write_oof(self.part(fold), result.views, self.config.oof_dtype)
        self.save_weights(fold, result.weights, self.info(fold, result), result.gallery)
        self.log({"fold": fold, "best_epoch": result.epoch, "best_score": round(result.score, 6),
                  "seconds_per_image": result.seconds_per_image})

    def save_weights(self, fold: int, weights: dict[str, torch.Tensor], info: CheckpointInfo,
                     gallery: Gallery | None) -> None:
        """Write a fold's checkpoint, and the gallery that is bound to it, where the task has one."""
        path = checkpoint_path(self.folder, fold)
        save_checkpoint(path, weights, info)
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
        """To log.jsonl and, in short, to the terminal."""
        append_log(self.folder, entry)
        if "epoch" in entry:
            score = f", {self.config.metric} {entry['score']:.4f}" if "score" in entry else ""
            self.say(f"{self.config.run} fold {entry['fold']} epoch {entry['epoch']}: lr {entry['lr']:.3g}, loss "
                     f"{entry['loss']:.4f}{score}, {entry['seconds']} s, epochs to go: {entry['left']}")

    def finish(self, folds: list[int]) -> RunMeta:
        """Join the folds' predictions and write oof/, oof.csv, targets.npy and, last, meta.json."""
        rows = [np.flatnonzero(self.data.fold == fold) for fold in folds]
        order = np.argsort(np.concatenate(rows), kind="stable")
        taken = np.concatenate(rows)[order]
        views = [Rows.joined(parts).pick(order) for parts in zip(*map(self.views, folds), strict=True)]
        answer = None if self.data.answer is None else [self.data.answer[row] for row in taken]
        write_oof_rows(self.folder / "oof.csv", [self.data.ids[row] for row in taken], self.data.fold[taken], answer)
        oof_sha256 = write_oof(self.folder / "oof", views, self.config.oof_dtype)
        targets_sha256 = write_array(self.folder / "targets.npy", self.data.targets[taken])
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
            channels=self.config.net.channels, start=weights_origin(self.config.net), views=self.config.views,
            merge=self.config.merge, metric=self.config.metric, score=self.task.score(metric, taken, answers),
            folds=metas,
            seconds_per_image=float(np.mean([info.seconds_per_image for info in infos])),
            reader=self.data.reader,
            config_sha256=config_hash(self.config), folds_sha256=self.folds_sha256, oof_sha256=oof_sha256,
            targets_sha256=targets_sha256, versions={"torch": torch.__version__, "timm": timm.__version__})
        write_meta(self.folder, meta)
        self.say(f"{self.config.run}: oof {metric.name} {meta.score:.4f} over {len(taken)} items, "
                 f"{pd.Series([m.score for m in metas]).round(4).tolist()} by fold")
        return meta
