"""A toy task that a tiny network learns in a second."""

from __future__ import annotations

import numpy as np

from foldpack.data.geometry import CanvasKind
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.dataset import TrainingSet

CLASSES = ["red", "green", "blue"]


def toy_set(task: str = "multiclass", count: int = 36) -> TrainingSet:
    """Noise with one bright channel: its number is the class. Multilabel: the class and the next."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 120, (count, 16, 16, 3), dtype=np.uint8)
    classes = np.arange(count) % 3
    for row, k in enumerate(classes):
        pixels[row, :, :, k] += 120
    one_hot = np.eye(3, dtype=bool)
    targets = classes if task == "multiclass" else one_hot[classes] | one_hot[(classes + 1) % 3]
    fold = (np.arange(count) // 3) % 3
    return TrainingSet([str(k) for k in range(count)], HeldPixels(CanvasKind(16), pixels), targets, fold, CLASSES, task)


def toy_config(**changes: object) -> RunConfig:
    data: dict = {
        "run": "toy", "competition": "digits", "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16}},
        "loss": {"name": "cross_entropy"}, "metric": "accuracy", "optim": {"lr": 3e-3, "warmup_epochs": 0},
        "augment": {"hflip": 0.0}, "epochs": 4, "batch_size": 8}
    return parse_config({**data, **changes}, "toy")


def quiet(entry: dict[str, object]) -> None:
    """A log that nobody reads."""
