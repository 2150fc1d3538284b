"""The weights of a fold's best epochs, kept beside those of the best one while a run has `keep`."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from foldpack.metrics.registry import Metric
from foldpack.models.checkpoint import CheckpointInfo, parse_checkpoint_info, save_checkpoint
from foldpack.models.classifier import ModelError


@dataclass(frozen=True)
class KeptEpochs:
    """`runs/<run>/fold<k>.epochs/epoch<e>.safetensors`: at most so many, the best by the run's metric.

    What is there counts, so a fold that is taken up again goes on with what it has kept before.
    """

    folder: Path  # of the run
    fold: int
    most: int  # 0: none
    metric: Metric

    @property
    def place(self) -> Path:
        """Where they lie."""
        return self.folder / f"fold{self.fold}.epochs"

    def clear(self) -> None:
        """Before the first epoch of a fold: nothing of an earlier training stays."""
        shutil.rmtree(self.place, ignore_errors=True)

    def offer(self, weights: dict[str, torch.Tensor], info: CheckpointInfo) -> None:
        """Keep an epoch if it is among the best; of equal ones the earlier. The one that falls out is removed."""
        if not self.most or math.isnan(info.score):
            return
        save_checkpoint(self.place / f"epoch{info.epoch}.safetensors", weights, info)
        for worse, _ in self.best()[self.most :]:
            worse.unlink()

    def best(self) -> list[tuple[Path, CheckpointInfo]]:
        """Those that are kept, best first. Raises ModelError for a file that cannot be read."""
        found = [(path, read_info(path)) for path in self.place.glob("epoch*.safetensors")]
        sign = -1 if self.metric.greater_is_better else 1
        return sorted(found, key=lambda each: (sign * each[1].score, each[1].epoch))


def read_info(path: Path) -> CheckpointInfo:
    """What a checkpoint says of itself, without its weights. Raises ModelError."""
    try:
        with safe_open(path, framework="pt") as file:
            return parse_checkpoint_info(file.metadata() or {}, str(path))
    except (OSError, SafetensorError) as failure:
        raise ModelError(f"{path}: cannot read the checkpoint ({failure})") from None
