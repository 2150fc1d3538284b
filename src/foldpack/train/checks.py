"""What can be wrong with a run, found before its first epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foldpack.competitions.protocol import Competition
from foldpack.data.geometry import input_shape
from foldpack.errors import DataError, FoldpackError
from foldpack.metrics.answers import answer_problem, task_answers
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import METRICS
from foldpack.models.classifier import build_classifier, require_output
from foldpack.models.own_network import own_network
from foldpack.models.start import settle_start
from foldpack.predict.views import expand_views, parse_view, require_inputs
from foldpack.settings.network import height_width
from foldpack.settings.run import NOT_HASHED, ConfigError, EmbedConfig, RunConfig, config_hash, read_config
from foldpack.train.augment.image import require_augmentation, seen_net
from foldpack.train.dataset import TrainingSet
from foldpack.train.device.accelerator import require_device
from foldpack.train.device.grad_checkpointing import use_grad_checkpointing
from foldpack.train.device.processes import require_rounds
from foldpack.train.evaluate import is_defined
from foldpack.train.extra_labels.attach import settle_labels
from foldpack.train.images.flipped import learned_set
from foldpack.train.loop.freezing import Freezing
from foldpack.train.loop.optimizer import build_optimizer
from foldpack.train.losses.registry import require_loss
from foldpack.train.rates import build_scheduler, check_schedule
from foldpack.train.sampling import build_order, item_weights
from foldpack.train.steps import STEPS, can_follow
from foldpack.train.targets import training_task
from foldpack.train.watch.trackers import require_trackers

Say = Callable[[str], None]
MIN_TRAINING_ITEMS = 2  # batch statistics of a single item are not defined

def settled_run(config: RunConfig, folder: Path, say: Say = print) -> RunConfig:
    """The configuration with what its weights to start from decide: `settle_start`, and the hashes of what it learns
    from other runs. folder: of the run.

    Raises ConfigError where it began with weights that are not there any more: its folds would start from scratch.
    """
    net = settle_start(config.net, lambda text: say(f"{config.run}: {text}"))
    if config.net.pretrained and not net.pretrained and (folder / "config.yml").exists():
        before = read_config(folder / "config.yml").net.pretrained
        if before:
            raise ConfigError(f"run '{config.run}': {folder} began with weights that are not there now, "
                              f"{before.name}; install them again, or give the run another name")
    return settle_labels(config.model_copy(update={"net": net}))


def changed_settings(path: Path, config: RunConfig) -> str:
    """What decides the weights and is not as it was in a run's `config.yml`, for eyes; "" where nothing is, or there
    is none."""
    try:
        before = read_config(path) if path.exists() else config
    except FoldpackError:
        return "it cannot be read"
    if config_hash(before) == config_hash(config):
        return ""
    old, new = flat_settings(before.model_dump(mode="json")), flat_settings(config.model_dump(mode="json"))
    changed = [f"{key} {old.get(key)} -> {new.get(key)}" for key in new | old
               if old.get(key) != new.get(key) and key.partition(".")[0] not in NOT_HASHED]
    return ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")


def flat_settings(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted keys."""
    parts = [flat_settings(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
             for key, value in block.items()]
    return {key: value for part in parts for key, value in part.items()}


def check_names(config: RunConfig, competition: Competition, here: bool = True) -> None:
    """Every name in the configuration exists and fits the task, before anything is decoded or trained.

    here: it is trained on this machine, whose GPU counts.
    """
    metric, task = find_metric(config.metric), training_task(config, competition.task)
    if not can_follow(task, metric):
        raise ConfigError(f"metric '{metric.name}' of {metric.needs} does not fit the {task} competition "
                          f"'{competition.name}'; choose one of: {', '.join(metrics_of_task(task))}")
    require_loss(config.loss, task, weighted=config.weights.kind != "none" or config.pseudo is not None)
    require_inputs(expand_views(config.views), config.net)
    require_read(config)
    if here:
        require_device(config)
    require_augmentation(config)
    require_trackers(config)
    net = build_classifier(config.net, 2, make=own_network(config.net))
    canvas = height_width(config.net.canvas or config.net.size)
    for side in config.augment.sides:
        require_output(config.net, net, 2, input_shape(seen_net(config), canvas, side))
    for view in map(parse_view, expand_views(config.views)):
        shape = input_shape(config.net, canvas, view.side)
        require_output(config.net, net, 2, shape[::-1] if view.turn[0] else shape)
    Freezing(config, net.train())
    use_grad_checkpointing(config, net)
    require_batch(config, net)
    check_schedule(config)
    build_scheduler(config, build_optimizer(config, net), updates_per_epoch=1)


def require_read(config: RunConfig) -> None:
    """Raises ConfigError for ways to retrieve by neighbours where only the means of identities count."""
    usual = EmbedConfig()
    for name in ("neighbours", "softmax", "rerank"):
        if config.embed.centres == 1 and getattr(config.embed, name) != getattr(usual, name):
            raise ConfigError(f"run '{config.run}': embed.centres is 1, so no neighbour counts, and embed.{name} is "
                              f"not read; leave {name} out, or set centres below 1")


def require_batch(config: RunConfig, net: nn.Module) -> None:
    """Raises ConfigError for batches of one image and a network that has batch norms which learn, as it is now."""
    if config.batch_size == 1 and any(isinstance(module, _BatchNorm) and module.training for module in net.modules()):
        raise ConfigError(f"run '{config.run}': batch_size is 1, and network '{config.net.arch}' has batch norms, "
                          "which need 2 images or more; raise batch_size, or choose a network without, such as a vit "
                          "or a convnext")


def tell_metric(config: RunConfig, competition: Competition, say: Say) -> None:
    """Before hours of training: the best epoch may follow a metric that no kernel can be scored by, the search not."""
    handed_in = task_answers(training_task(config, competition.task))
    if problem := answer_problem(config.metric, find_metric(config.metric).answer, handed_in):
        say(f"warning: run '{config.run}': {problem}; the epochs follow it all the same, but the search will need "
            "--metric with one of these")


def metrics_of_task(task: str) -> list[str]:
    """The metrics that a run of this task can follow."""
    return sorted(name for name, metric in METRICS.items() if can_follow(task, metric))


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
        lacking = f", and not {', '.join(map(str, strange))}" if strange else ""
        raise ConfigError(f"run '{config.run}': folds {config.folds}; {folds_csv} has {existing.tolist()}{lacking}")
    return sorted(set(config.folds))


def part_of(chosen: list[int], only: Sequence[int], config: RunConfig) -> list[int]:
    """Some of the folds of a run. Raises ConfigError for others."""
    if strange := sorted(set(only) - set(chosen)):
        raise ConfigError(f"run '{config.run}': it has no folds {strange}; it has {chosen}")
    return sorted(set(only))


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
    for fold in folds:
        learned = learned_set(config, data, fold)
        task = STEPS[data.task](config, learned)
        rows = task.learnable(np.flatnonzero(learned.fold != fold))
        require_rounds(config, len(build_order(config, learned, rows, fold)))
        item_weights(config, learned, rows)
