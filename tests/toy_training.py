"""A training of seconds: noise with one bright channel, which is the class, and a tiny network."""

from __future__ import annotations

import numpy as np

from foldpack.data.geometry import CanvasKind
from foldpack.models.checkpoint import GoldenLogits
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.dataset import TrainingSet
from foldpack.train.evaluate import FoldResult
from foldpack.train.loop.training import FoldTraining

STRONG = {"hflip": 0.5, "vflip": 0.5, "affine": 1.0, "colour": 1.0, "grey": 0.1}
CLASSES = ["red", "green", "blue"]


def toy_set(task: str = "multiclass", count: int = 36) -> TrainingSet:
    """Noise with one bright channel: its number is the class, identity or value. Multilabel: the class and the next."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 120, (count, 16, 16, 3), dtype=np.uint8)
    classes = np.arange(count) % 3
    for row, k in enumerate(classes):
        pixels[row, :, :, k] += 120
    one_hot = np.eye(3, dtype=bool)
    targets = {"multilabel": one_hot[classes] | one_hot[(classes + 1) % 3],
               "regress": classes[:, None].astype(np.float64)}.get(task, classes)
    fold = (np.arange(count) // 3) % 3
    names = ["value"] if task == "regress" else CLASSES
    return TrainingSet([str(k) for k in range(count)], HeldPixels(CanvasKind(16), pixels), targets, fold, names, task)


def toy_config(**changes: object) -> RunConfig:
    data: dict = {
        "run": "toy", "competition": "digits",
        "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}},
        "loss": {"name": "cross_entropy"}, "metric": "accuracy", "optim": {"lr": 3e-3, "warmup_epochs": 0},
        "augment": {"hflip": 0.0}, "epochs": 4, "batch_size": 8}
    return parse_config({**data, **changes}, "toy")


def quiet(entry: dict[str, object]) -> None:
    """A log that nobody reads."""


class Scripted(FoldTraining):
    """Does not train; its evaluations give the scores of a list."""

    scores: list[float] = []

    def epoch(self, epoch: int) -> float:
        return 0.5

    def evaluate(self, epoch: int) -> FoldResult:
        golden = GoldenLogits(logits=[[0.0]], versions={})
        return FoldResult({}, np.zeros((1, 12, 3)), self.scores[epoch], epoch, 0.0, golden)
