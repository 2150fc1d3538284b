"""Trainings that are killed, kill -9, at any moment: the same command goes on, and ends as if nothing had happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_training import Trainer, trainer
from small_house import tiny_config, write_small_folds

from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run
from foldpack.models.checkpoint import read_checkpoint
from foldpack.train.loop.states import state_folder

MIXED = {"hflip": 0.5, "affine": 1.0, "colour": 0.5, "mixup": 0.4, "erase": 0.3}
PLATEAU = {"lr": 1e-2, "schedule": "plateau", "patience_epochs": 0, "decay_rate": 0.5, "reload_best": True,
           "warmup_epochs": 0}
NET = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2, "proj_drop_rate": 0.1}}
VARIANTS: dict[str, dict[str, object]] = {
    "average": {"ema": 0.9, "augment": MIXED, "accumulate": 2, "batch_size": 8, "keep": 2},
    "plateau, workers": {"optim": PLATEAU, "augment": MIXED, "workers": 2, "views": ["identity", "hflip"], "ema": 0.5},
    "batch norm": {"net": {"arch": "test_resnet", "size": 16}, "ema": 0.8, "optim": {"lr": 1e-2, "clip_norm": 1.0}},
    "one cycle": {"optim": {"lr": 1e-2, "schedule": "onecycle"}, "precision": "bf16", "patience": 2},
}
RETRIEVAL: dict[str, dict[str, object]] = {
    name: {"competition": "digits-retrieval", "task": "embed", "embed": {"dim": 8}, "metric": "map5", "loss": loss}
    for name, loss in (("adacos", {"name": "adacos"}), ("arcface", {"name": "arcface", "lr": 0.05}))}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    root = tmp_path_factory.mktemp("kills")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", 3)
    with trainer(root / "data", root / "folds.csv") as found:
        yield found


def order(**changes: object) -> dict[str, object]:
    """A run of two folds, with a state after every update."""
    config = tiny_config("tiny", **{"net": NET, "epochs": 4, "folds": [0, 2], "save_minutes": 1e-9, **changes})
    return config.model_dump(mode="json", exclude_defaults=True)


def kill_and_compare(place: Trainer, tmp_path: Path, config: dict[str, object], seed: int, kills: int) -> None:
    """Train unbroken, and with so many kills at moments that a seed draws."""
    assert place.train(config, tmp_path / "whole") == 0
    chance = np.random.default_rng(seed)
    for _ in range(kills):
        batches, seconds = int(chance.integers(1, 5)), float(chance.uniform(0, 0.1))
        assert place.train(config, tmp_path / "killed", batches, seconds) == -9
    assert place.train(config, tmp_path / "killed") == 0
    require_same_runs(tmp_path / "whole/tiny", tmp_path / "killed/tiny")


def require_same_runs(one: Path, other: Path) -> None:
    """The same files, with the same weights and predictions to the bit; nothing is left of the trainings."""
    names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other).as_posix() for path in other.rglob("*"))
    for path in one.rglob("*.npy"):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()
    for path in one.rglob("*.safetensors"):
        if "gallery" in path.name:
            continue
        (first, info), (second, other_info) = read_checkpoint(path), read_checkpoint(other / path.relative_to(one))
        assert all(torch.equal(first[name], second[name]) for name in first) and first.keys() == second.keys()
        timeless = {"seconds_per_image": 0.0}
        assert info.model_copy(update=timeless) == other_info.model_copy(update=timeless)
    assert read_run(one).meta.score == read_run(other).meta.score


def test_a_run_that_was_killed_again_and_again_is_the_same_run(place: Trainer, tmp_path: Path) -> None:
    kill_and_compare(place, tmp_path, order(**VARIANTS["plateau, workers"], folds=[2], epochs=4), 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("save_minutes", [1e-9, 10])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VARIANTS)
def test_any_run_may_be_killed_anywhere(place: Trainer, tmp_path: Path, name: str, seed: int, save_minutes) -> None:
    kill_and_compare(place, tmp_path, order(**VARIANTS[name], save_minutes=save_minutes), seed, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", RETRIEVAL)
def test_what_a_loss_has_learned_outlives_a_kill(tmp_path: Path, name: str) -> None:
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 120, name="digits-retrieval")
    write_small_folds(tmp_path / "data", tmp_path / "folds.csv", 3)
    with trainer(tmp_path / "data", tmp_path / "folds.csv") as found:
        kill_and_compare(found, tmp_path, order(**RETRIEVAL[name]), 0, 4)


def test_nobody_else_trains_the_fold_and_a_kill_frees_it(place: Trainer, tmp_path: Path) -> None:
    """The lock dies with its process, whose workers live on for a while; a second training is refused before that."""
    config = order(workers=2, epochs=200, folds=[0])
    assert place.train(config, tmp_path / "runs", 4) == -9
    assert state_folder(tmp_path / "runs/tiny", 0).is_dir()
    from foldpack.train.loop.lock import RunLock  # a second process: this one

    lock = RunLock(tmp_path / "runs/tiny", print)
    lock.take([0])
    try:
        assert place.train(config, tmp_path / "runs") == 1
    finally:
        lock.free()
    said = (tmp_path / "runs.log").read_text().splitlines()
    assert said[-1].startswith("failed: LockedError(\"run 'tiny': fold 0 is being trained by process "
                               f"{os.getpid()} on ")
