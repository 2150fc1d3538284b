"""What tests start in two processes: train folds of the toy task, and write what each process saw of it."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import save_file
from toy_training import toy_config, toy_set
from view_arrays import views_array

from foldpack.data.geometry import canvas_kind
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import AugmentedRows, TrainingSet
from foldpack.train.device.accelerator import open_accelerator
from foldpack.train.device.processes import leave_processes
from foldpack.train.evaluate import FoldResult
from foldpack.train.fit import fit_fold
from foldpack.train.loop.states import FoldStates, StateInfo
from foldpack.train.loop.training import FoldTraining

BATCH_NORM = {"arch": "test_resnet", "size": 16}
SGD = {"optim": {"name": "sgd", "lr": 0.05, "warmup_epochs": 0, "schedule": "constant"}, "epochs": 1}


def shapes_set() -> tuple[RunConfig, TrainingSet]:
    """Images of several shapes, so that a batch is learned in as many passes as it has shapes."""
    net = {"arch": "test_resnet", "geometry": {"kind": "long", "multiple": 16}, "size": 64}
    config, data = toy_config(net=net, epochs=2, batch_size=4), toy_set()
    kind, sides = canvas_kind(config.net), [(64, 64), (48, 64), (64, 32)]
    dice = np.random.default_rng(1)
    pixels = [np.resize(data.pixels.row(row), (*sides[dice.integers(3)], 3)) for row in range(len(data.ids))]
    return config, replace(data, pixels=HeldPixels(kind, pixels))


def embed_set() -> tuple[RunConfig, TrainingSet]:
    """Identities, whose class vectors the loss learns."""
    config = toy_config(task="embed", loss={"name": "arcface", "scale": 16.0}, metric="map1", batch_size=4, epochs=2)
    return config, replace(toy_set(), task="embed")


CASES: dict[str, Any] = {
    "plain sgd": lambda: (toy_config(batch_size=4, **SGD), toy_set()),
    "batch norm": lambda: (toy_config(net=BATCH_NORM, ema=0.9, batch_size=4, epochs=2,
                                      augment={"hflip": 0.5, "mixup": 0.4, "erase": 0.5}), toy_set()),
    "rare scores": lambda: (toy_config(net=BATCH_NORM, ema=0.9, batch_size=4, epochs=4, evaluate_every=2), toy_set()),
    "head first": lambda: (toy_config(batch_size=4, accumulate=2, epochs=2,
                                      optim={"lr": 3e-3, "head_epochs": 1, "warmup_epochs": 0}), toy_set()),
    "mean": lambda: (toy_config(net=BATCH_NORM, batch_size=4, epochs=3, swa={"epochs": 2}), toy_set()),
    "early stop": lambda: (toy_config(batch_size=4, epochs=20, patience=1), toy_set()),
    "shapes": shapes_set,
    "embed": embed_set,
}


def seen_items(config: RunConfig, data: TrainingSet) -> list[list[int]]:
    """The keys that this process asks for in the first two epochs."""
    training, keys = FoldTraining(config, data, 0), []
    real = AugmentedRows.__getitem__
    AugmentedRows.__getitem__ = lambda self, key: (keys.append(list(key)), real(self, key))[1]  # type: ignore
    for epoch in range(2):
        training.begin(epoch)
        for _ in training.loader:
            pass
    AugmentedRows.__getitem__ = real  # type: ignore[method-assign]
    return keys


class Killed(BaseException):
    """Both processes are gone."""


def fit_after_a_death(config: RunConfig, data: TrainingSet, folder: Path) -> tuple[FoldResult, list[dict[str, Any]]]:
    """Train a fold that dies after its first epoch, and go on from what was saved; also returns the second log."""
    info = StateInfo(run="toy", fold=0, config_sha256="1", folds_sha256="2", data_sha256="3", reader=None, libraries={})
    states, real, entries = FoldStates(folder, info, print), FoldTraining.save, []  # type: ignore[var-annotated]

    def dies(self: FoldTraining) -> None:
        real(self)
        raise Killed

    FoldTraining.save = dies  # type: ignore[method-assign]
    try:
        fit_fold(config, data, 0, entries.append, states=states)
    except Killed:
        entries.clear()
    FoldTraining.save = real  # type: ignore[method-assign]
    return fit_fold(config, data, 0, entries.append, states=states), entries


def digest(result: FoldResult) -> str:
    """Of weights and predictions."""
    found = hashlib.sha256()
    for name, tensor in sorted(result.weights.items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    found.update(views_array(result.views).tobytes())
    return found.hexdigest()


def main(folder: Path) -> None:
    """All cases, one after the other."""
    open_accelerator(toy_config())
    told: dict[str, Any] = {"processes": PartialState().num_processes}
    for name, make in CASES.items():
        config, data = make()
        entries: list[dict[str, Any]] = []
        result = fit_fold(config, data, 0, entries.append)
        told[name] = {"digest": digest(result), "score": result.score, "epoch": result.epoch, "epochs": len(entries),
                      "losses": [entry["loss"] for entry in entries if "loss" in entry]}
        if name == "plain sgd":
            save_file({key: tensor.contiguous() for key, tensor in result.weights.items()},
                      folder / f"{PartialState().process_index}.safetensors")
            np.save(folder / f"{PartialState().process_index}.npy", views_array(result.views))
    for name in ("batch norm", "rare scores"):
        result, entries = fit_after_a_death(*CASES[name](), folder / name)
        epochs = [entry["epoch"] for entry in entries if "epoch" in entry]
        told[f"{name} resumed"] = {"digest": digest(result), "epochs": epochs}
    told["seen"] = seen_items(toy_config(batch_size=4, sampler={"kind": "balanced"}), toy_set())
    (folder / f"{PartialState().process_index}.json").write_text(json.dumps(told))
    leave_processes()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
