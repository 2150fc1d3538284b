"""Whether the disk has room for what a run will write, known before its first epoch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.models.own_network import own_network
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.loop.states import state_folder
from foldpack.train.steps import TrainStep

MOMENTS = 2  # numbers that an optimiser keeps of a weight, as AdamW does
NUMBER = 4  # bytes


@dataclass(frozen=True)
class RunBytes:
    """What some folds of a run take on the disk, in bytes."""

    checkpoints: int  # with those that `keep` asks for, and galleries
    predictions: int  # out of fold, by fold and joined
    states: int  # of one fold at a time, the old one and the new one

    @property
    def whole(self) -> int:
        """Of all together."""
        return self.checkpoints + self.predictions + self.states


def run_bytes(config: RunConfig, data: TrainingSet, task: TrainStep, folds: Sequence[int]) -> RunBytes:
    """What training some folds writes. Builds the network once."""
    net = task.builder(config.net, task.width, False, own_network(config.net))
    weights = sum(tensor.nbytes for tensor in net.state_dict().values())
    learned = sum(tensor.nbytes for tensor in task.loss.state_dict().values())
    inside = [int((data.fold == fold).sum()) for fold in folds]
    outside = [len(task.learnable(np.flatnonzero(data.fold != fold))) for fold in folds]
    row = task.width * len(config.views)
    galleries = [count * (task.width + 1) * NUMBER * task.has_gallery for count in outside]
    best = weights + max(inside, default=0) * row * NUMBER + max(galleries, default=0)
    copies = 1 + MOMENTS + bool(config.ema) + (config.swa is not None)
    return RunBytes(len(folds) * weights * (1 + config.keep) + sum(galleries),
                    2 * sum(inside) * row * np.dtype(config.oof_dtype).itemsize,
                    2 * (copies * weights + (1 + MOMENTS) * learned + best) if folds else 0)


def require_room(config: RunConfig, data: TrainingSet, task: TrainStep, folder: Path, folds: Sequence[int]) -> None:
    """Raises DataError where the disk has less room than training some folds needs. folder: of the run, which is there.

    States that are there already will be replaced.
    """
    needed, free = run_bytes(config, data, task, folds), shutil.disk_usage(folder).free
    there = sum(path.stat().st_size for fold in folds for path in state_folder(folder, fold).glob("*.safetensors"))
    if needed.whole - min(there, needed.states) > free:
        raise DataError(
            f"{folder}: the disk has {told(free)} free, and run '{config.run}' will write {told(needed.whole)}: "
            f"checkpoints {told(needed.checkpoints)}, out-of-fold predictions {told(needed.predictions)}, states to go "
            f"on from {told(needed.states)}; free some of it, or choose another disk with --runs")


def told(size: int) -> str:
    """A size for eyes: 1.2 GB."""
    for unit, one in (("GB", 10**9), ("MB", 10**6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1000:.1f} kB"
