"""What a child process does for others: look whether it could train, train one fold, or score one trial."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from foldpack.predict.page_stream import PageStream
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.cluster.orders import ClusterError, Order, Tell
from foldpack.train.cluster.versions import code_digests, files_digest
from foldpack.train.device.accelerator import require_device
from foldpack.train.fit import fit_fold
from foldpack.train.images.picked import PickedPixels
from foldpack.train.load import Where
from foldpack.train.loop.lock import LockedError
from foldpack.train.run import RunTrainer, open_run

LOCKED_SECONDS = 60.0  # that another process may hold a fold before it is an error
MOUNT = "mount it there under the same path, or leave this worker out"


def carry_out(order: Order, tell: Tell, versions: dict[str, str]) -> dict[str, Any]:
    """Do what is asked. versions: of this process. Raises FoldpackError."""
    if not Path(order.project).is_dir():
        raise ClusterError(f"cannot see the project's folder {order.project}; {MOUNT}")
    os.chdir(order.project)
    torch.set_num_threads(order.threads)
    if order.do == "check":
        check(order, versions)
        return {}
    return train_fold(order, tell) if order.do == "fold" else score_trial(order, tell)


def check(order: Order, versions: dict[str, str]) -> None:
    """Raises ClusterError where programs, folders, data or the project's code are not those of who asks, ConfigError
    where a run needs a GPU that is not there."""
    if versions != order.expected["versions"]:
        raise ClusterError(f"it has {told(versions)}; here is {told(order.expected['versions'])}; install the same on "
                           "all machines, and start its workers again")
    for name, place in (("data folder", order.data), ("table of folds", order.folds_csv), ("runs folder", order.runs)):
        if not Path(place).exists():
            raise ClusterError(f"cannot see the {name} {place}; {MOUNT}")
    if not Path(order.runs, order.expected["token"]).exists() or not os.access(order.runs, os.W_OK):
        raise ClusterError(f"the runs folder {order.runs} is another one there, or cannot be written; {MOUNT}")
    configs = [parse_config(config, order.name) for config in order.configs]
    opened = (open_run(config, where(order, here=False), lambda line: None)[0] for config in configs)
    found = digests(order.data, configs, opened)
    for what, digest in order.expected["digests"].items():
        if found.get(what) != digest:
            raise ClusterError(f"{what} differs from what is here; all workers need the same files")
    for config in configs:
        require_device(config)


def told(versions: dict[str, str]) -> str:
    """`python 3.11, foldpack 0.1.0 of source ...`."""
    return ", ".join(f"{name} {value}" for name, value in versions.items())


def digests(data: str, configs: Iterable[RunConfig], opened: Iterable[RunTrainer]) -> dict[str, str]:
    """What -> its digest, of the project's files that runs name, and of the data that they train on.

    opened: the runs, whose images nobody has looked at.
    """
    found = {f"{name} of the project": digest for name, digest in code_digests(configs).items()}
    for trainer in opened:
        pixels = trainer.data.pixels
        assert isinstance(pixels, PageStream)
        found[f"the data in {data}, as run '{trainer.config.run}' reads it,"] = files_digest(trainer.data, pixels.paths)
    return found


def where(order: Order, here: bool = True) -> Where:
    """The places of an order."""
    return Where(Path(order.data), Path(order.folds_csv), Path(order.runs),
                 None if order.near else Path(tempfile.gettempdir()) / f"foldpack-decoded-{os.getuid()}", True, here)


def train_fold(order: Order, tell: Tell) -> dict[str, Any]:
    """Train a fold, unless it is finished. Returns whether it was, and the rows that were left out as broken."""
    [config], [fold] = order.configs, order.folds
    trainer, _ = open_run(parse_config(config, order.name), where(order), lambda line: tell({"say": line}))
    trainer.tell = lambda entry: tell({"entry": entry})
    kept = trainer.fold_is_finished(fold)
    if not kept:
        train_alone(trainer, fold)
    pixels = trainer.data.pixels
    lost = set(range(len(pixels.whole))) - set(pixels.rows.tolist()) if isinstance(pixels, PickedPixels) else set()
    return {"kept": kept, "lost": sorted(lost)}


def train_alone(trainer: RunTrainer, fold: int) -> None:
    """Train a fold once the child of a worker that was lost, and may have had it, is gone. Raises LockedError."""
    deadline = time.monotonic() + LOCKED_SECONDS
    while not trainer.fold_is_finished(fold):
        try:
            return trainer.train_fold(fold)
        except LockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def score_trial(order: Order, tell: Tell) -> dict[str, Any]:
    """Train a configuration on its folds and keep nothing but the scores."""
    trainer, _ = open_run(parse_config(order.configs[0], order.name), where(order), lambda line: tell({"say": line}))
    results = [fit_fold(trainer.config, trainer.data, fold, lambda entry: tell({"entry": entry}))
               for fold in order.folds]
    return {"scores": [result.score for result in results], "epochs": [result.epoch for result in results]}
