"""`foldpack batch`: the images are those that the network gets, to the bit, with what the loss is told of them."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from PIL import Image
from small_house import tiny_config, write_small_folds
from toy_training import quiet, toy_config, toy_set

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.settings.network import NetConfig
from foldpack.settings.run import RunConfig, config_text
from foldpack.train.augment.mixing import BatchMixer
from foldpack.train.dataset import TrainingSet
from foldpack.train.fit import FoldTraining, fit_fold, fold_seed
from foldpack.train.pages.batch import first_batches, mixed_text, plain_image, target_texts
from foldpack.train.pages.thumbs import MOST_BYTES, Thumbs, picture_of_tensor

MIXED = {"hflip": 0.5, "affine": 1.0, "colour": 0.5, "mixup": 0.4, "cutmix": 1.0, "erase": 0.5}


def opened(config: RunConfig, data: TrainingSet) -> FoldTraining:
    """As a fold begins."""
    set_seed(fold_seed(config, 1))
    return FoldTraining(config, data, 1)


@pytest.mark.parametrize("changes", [{"augment": MIXED}, {"augment": MIXED, "accumulate": 2},
                                     {"augment": {"sides": [16, 24]}, "net": {"arch": "test_resnet", "size": 16}}])
def test_the_batches_are_those_of_training_to_the_bit(monkeypatch, changes: dict) -> None:
    config, met = toy_config(epochs=1, **changes), list[tuple[torch.Tensor, torch.Tensor]]()
    real = BatchMixer.__call__

    def listening(self, images, targets):
        met.append(real(self, images, targets))
        return met[-1]

    monkeypatch.setattr(BatchMixer, "__call__", listening)
    fit_fold(config, toy_set(), 1, quiet)
    trained = met[:2]
    met.clear()
    seen = [group for batch in first_batches(opened(config, toy_set()), 2) for group in batch]
    assert len(seen) == 2 and len(trained[0][0]) == 8
    for group, (images, targets) in zip(seen, trained, strict=True):
        assert torch.equal(group.images, images.float()) and torch.equal(group.targets, targets)


def test_each_image_stands_beside_its_own_id() -> None:
    training = opened(toy_config(augment={"hflip": 0.0}), toy_set())
    [[group]] = first_batches(training, 1)
    for row, image, target in zip(group.rows, group.images, group.targets, strict=True):
        assert torch.equal(image, plain_image(training, row)) and training.data.fold[row] != 1
        assert int(target.argmax()) == training.data.targets[row]
        pixels = np.asarray(picture_of_tensor(image, training.config.net))
        assert (pixels == training.data.pixels.row(row)).all()


class TwoShapes:
    """Canvases of 32 x 16 pixels, those of odd rows turned."""

    def __init__(self, row: Callable[[int], np.ndarray]) -> None:
        self.square = row

    def row(self, row: int) -> np.ndarray:
        wide = np.concatenate([self.square(row)] * 2, axis=1)
        return wide.transpose(1, 0, 2) if row % 2 else wide

    def lost_rows(self, start: int, stop: int) -> list[int]:
        return []


def test_images_of_several_shapes_keep_their_ids() -> None:
    data, net = toy_set(), {"arch": "test_resnet", "size": 32, "geometry": {"kind": "long", "multiple": 8}}
    data = replace(data, pixels=TwoShapes(data.pixels.row))  # type: ignore[arg-type]
    training = opened(toy_config(augment={"hflip": 0.0}, net=net), data)
    [groups] = first_batches(training, 1)
    assert sorted(tuple(group.images.shape[2:]) for group in groups) == [(16, 32), (32, 16)]
    assert sum(len(group.rows) for group in groups) == 8
    for group in groups:
        for row, image in zip(group.rows, group.images, strict=True):
            assert torch.equal(image, plain_image(training, row))


@pytest.mark.parametrize(("task", "target", "weighted", "texts"), [
    ("multiclass", [0.0, 1.0, 0.0], False, ["green"]),
    ("multiclass", [0.3, 0.0, 0.7], False, ["blue 0.70", "red 0.30"]),
    ("multiclass", [0.0, 1.0, 0.0, 2.5], True, ["green", "weight 2.5"]),
    ("multilabel", [1.0, 0.25, 1.0], False, ["red", "blue", "green 0.25"]),
    ("multilabel", [0.0, 0.0, 0.0], False, ["(none)"]),
    ("regress", [1.5, 2.0, -3.25], False, ["red 1.5", "green 2", "blue -3.25"]),
    ("multiclass", [0.2] * 5, False, [f"{k} 0.20" for k in range(4)] + ["and 1 more"])])
def test_what_the_loss_is_told_stands_there(task: str, target: list, weighted: bool, texts: list) -> None:
    data = toy_set()
    names = data.classes if len(target) - weighted == 3 else [str(k) for k in range(5)]
    assert target_texts(replace(data, classes=names, task=task), torch.tensor(target), weighted) == texts


def test_an_identity_is_named() -> None:
    data = toy_set()
    assert target_texts(replace(data, task="embed"), torch.tensor(2), False) == ["blue"]


def test_mixed_images_are_counted() -> None:
    training = opened(toy_config(augment={"hflip": 0.0, "mixup": 0.4}), toy_set())
    [[group]] = first_batches(training, 1)
    classes = training.data.targets[group.rows]
    same = int((classes == np.roll(classes, 1)).sum())  # mixup takes the one before
    assert mixed_text(training, group) == f"{8 - same} of 8 have labels of others mixed in; a number is a label's share"
    assert mixed_text(opened(toy_config(), toy_set()), group) == ""


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_pictures_of_any_number_of_channels(channels: int) -> None:
    net = NetConfig(arch="x", size=16, channels=channels, mean=[0.2] * channels, std=[0.5] * channels)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, channels))
    image = (torch.tensor(pixels).permute(2, 0, 1) / 255 - 0.2) / 0.5
    shown = np.asarray(picture_of_tensor(image, net))
    assert (shown == (pixels[..., :3] if channels >= 3 else pixels[..., :1].repeat(3, axis=2))).all()


def test_a_page_holds_so_many_bytes() -> None:
    thumbs = Thumbs()
    assert thumbs.kept("x" * (MOST_BYTES - 5)) and thumbs.kept("x" * 6) == "" and thumbs.kept("x" * 5) == "x" * 5
    assert thumbs.left_out == 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("batch")
    write_digits(root / "data", root / "answers.csv", 60)
    write_small_folds(root / "data", root / "folds.csv")
    return root


def command(place: Path, tmp_path: Path, config: RunConfig, *more: str) -> int:
    (tmp_path / "c.yml").write_text(config_text(config))
    folders = ["--data", str(place / "data"), "--folds", str(place / "folds.csv"), "--runs", str(tmp_path / "runs")]
    return run_app(foldpack, ["batch", str(tmp_path / "c.yml"), *folders, "--out", str(tmp_path / "b.html"), *more])


def test_the_command_writes_a_page_and_no_run(place: Path, tmp_path: Path, capsys) -> None:
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    config = tiny_config("tiny", net=net, augment=MIXED, weights={"kind": "balanced"}, workers=2,
                         batch_size=8)
    assert command(place, tmp_path, config, "--batches", "2", "--images", "5", "--items", "3") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"page {tmp_path / 'b.html'}"
    page = (tmp_path / "b.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 2 * 5 + 3 * 5 and "Batch 1: 8 images" in page and "16 x 16" in page
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (16, 16)
    assert "as it is predicted" in page and "epoch 3" in page and "weight " in page and "and 3 more" in page
    assert len(page) < 5_000_000 and not (tmp_path / "runs").exists()


def test_bad_input_is_one_line(place: Path, tmp_path: Path, capsys) -> None:
    assert command(place, tmp_path, tiny_config("tiny"), "--fold", "7") == 2
    assert capsys.readouterr().err == f"error: run 'tiny': folds [7]; {place / 'folds.csv'} has [0, 1], and not 7\n"
    assert command(place, tmp_path, tiny_config("tiny"), "--data", str(tmp_path / "gone")) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and str(tmp_path / "gone") in said and "Traceback" not in said
    assert run_app(foldpack, ["batch", str(tmp_path / "none.yml")]) == 2
    assert "none.yml: cannot read it" in capsys.readouterr().err
    assert not (tmp_path / "b.html").exists()
