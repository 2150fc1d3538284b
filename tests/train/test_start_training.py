"""Training that starts from weights: of every task, recorded, never mixed up with a start from scratch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from small_house import tiny_config, write_small_folds

from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run
from foldpack.models.checkpoint import read_checkpoint
from foldpack.search.runs import member_of
from foldpack.settings.run import ConfigError, RunConfig, parse_config, read_config
from foldpack.train.dataset import TrainingSet
from foldpack.train.run import train_run
from foldpack.train.steps import STEPS
from packer.flatten.header import spec_rows

ARCH = "test_efficientnet"
OWN = """\
import timm
from torch import nn


class Mine(nn.Module):
    def __init__(self, pretrained, num_classes):
        super().__init__()
        self.body = timm.create_model("test_efficientnet", num_classes=0)
        self.middle = nn.Linear(self.body.num_features, 8)
        self.last = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.last(self.middle(self.body(images)).relu())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with 60 digits in `data`, `folds.csv`, a network of its own, and the weights `a.pth`."""
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 75)
    write_small_folds(tmp_path / "data", tmp_path / "folds.csv", 2)
    (tmp_path / "own_start.py").write_text(OWN)
    torch.save(timm.create_model(ARCH).state_dict(), "a.pth")
    return tmp_path


def run_from(start: object, **net: object) -> RunConfig:
    """A tiny run that starts so."""
    return tiny_config("tiny", net={"arch": ARCH, "size": 32, "pretrained": start, **net}, epochs=1)


def trained(config: RunConfig) -> list[str]:
    """What is said."""
    said: list[str] = []
    train_run(config, Path("data"), Path("folds.csv"), Path("runs"), said.append)
    return said


@pytest.mark.parametrize("arch", [ARCH, "own_start.py:Mine"])
@pytest.mark.parametrize(("task", "loss"), [("classify", "cross_entropy"), ("regress", "mse"), ("embed", "arcface")])
def test_every_task_starts_from_them_behind_a_head_of_its_own(place: Path, task: str, loss: str, arch: str) -> None:
    data = {"run": "a", "competition": "digits", "task": task, "metric": "accuracy", "loss": {"name": loss},
            "net": {"arch": arch, "size": 32, "pretrained": "a.pth"}}
    config = parse_config(data, "a.yml")
    targets = np.arange(6.0).reshape(6, 1) if task == "regress" else np.arange(6) % 3
    kind = "multiclass" if task == "classify" else task
    classes = ["value"] if task == "regress" else ["x", "y", "z"]
    items = TrainingSet(list("abcdef"), np.zeros((6, 32, 32, 3), np.uint8), targets, np.arange(6) % 2, classes, kind)
    net = STEPS[kind](config, items).build(np.arange(6))
    given = torch.load("a.pth", weights_only=True)
    tensors = net.state_dict()
    prefix = ("" if task == "classify" else "0.") + ("body." if arch != ARCH else "")
    assert all(tensors[prefix + name].equal(given[name]) for name in given if not name.startswith("classifier."))
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, {"classify": 3, "regress": 1, "embed": 128}[task])


def test_a_run_records_what_it_started_from_wherever_it_is_asked(place: Path) -> None:
    said = trained(run_from({"file": "a.pth", "licence": "MIT", "origin": "https://example.org"}))
    assert said[0].startswith("tiny: net.pretrained: a.pth, licence MIT: ") and "pixels with mean" in said[0]
    run = read_run(place / "runs" / "tiny")
    start = run.meta.start
    assert start is not None and (start.name, start.licence, start.origin) == ("a.pth", "MIT", "https://example.org")
    written = read_config(place / "runs/tiny/config.yml")
    assert written.net.pretrained.sha256 == start.sha256
    assert read_checkpoint(place / "runs/tiny/fold0.safetensors")[1].net == written.net
    spec = {"stages": [{"members": [member_of(run, 1.0).model_dump(mode="json", exclude_none=True)]}]}
    assert ("Weights", "tiny: began with a.pth of https://example.org, licence MIT") in list(spec_rows(spec))


def test_a_run_from_scratch_says_nothing_of_weights(place: Path) -> None:
    said = trained(run_from(False))
    run = read_run(place / "runs" / "tiny")
    assert run.meta.start is None and not [line for line in said if "pretrained" in line]
    assert "Weights" not in dict(spec_rows({"stages": [{"members": [member_of(run, 1.0).model_dump()]}]}))


def test_the_weights_decide_the_pixels_of_the_predictions(place: Path) -> None:
    config = run_from("a.pth", mean=[0.5, 0.4, 0.3])
    trained(config)
    kept = read_checkpoint(place / "runs/tiny/fold0.safetensors")[1].net
    assert kept.mean == [0.5, 0.4, 0.3] and kept.std == list(timm.get_pretrained_cfg(ARCH).std)  # type: ignore[union-attr]


def test_folds_are_kept_where_the_file_moved_and_trained_again_where_it_changed(place: Path) -> None:
    trained(run_from("a.pth"))
    shutil.move("a.pth", "b.pth")
    assert sum("finished before, kept" in line for line in trained(run_from("b.pth"))) == 2
    torch.save(timm.create_model(ARCH).state_dict(), "b.pth")
    assert not sum("finished before, kept" in line for line in trained(run_from("b.pth")))
    with pytest.raises(Exception, match="sha256 wants"):
        shutil.copy("runs/tiny/config.yml", "again.yml")
        torch.save(timm.create_model(ARCH).state_dict(), "b.pth")
        trained(read_config(Path("again.yml")))


def test_a_run_that_began_with_optional_weights_is_not_taken_up_without_them(place: Path) -> None:
    config = run_from({"file": "a.pth", "optional": True})
    trained(config)
    before = {path: path.read_bytes() for path in (place / "runs/tiny").iterdir() if path.is_file()}
    Path("a.pth").unlink()
    with pytest.raises(ConfigError, match="run 'tiny': runs/tiny began with weights that are not there now, a.pth; "
                                          "install them again, or give the run another name"):
        trained(config)
    assert before == {path: path.read_bytes() for path in (place / "runs/tiny").iterdir() if path.is_file()}


def test_a_start_from_scratch_for_want_of_weights_is_that_of_a_run_without(place: Path) -> None:
    said = trained(run_from({"package": "never_heard_of", "optional": True}))
    assert "so training starts from scratch" in said[0]
    first = json.loads((place / "runs/tiny/meta.json").read_text())
    assert sum("finished before, kept" in line for line in trained(run_from(False))) == 2
    again = json.loads((place / "runs/tiny/meta.json").read_text())
    assert first["config_sha256"] == again["config_sha256"] and first["start"] is None


def test_weights_that_do_not_fit_stop_the_run_before_an_image_is_read(place: Path) -> None:
    shutil.rmtree(place / "data" / "train")
    with pytest.raises(Exception, match="a.pth does not fit network 'test_resnet'"):
        trained(tiny_config("tiny", net={"arch": "test_resnet", "size": 32, "pretrained": "a.pth"}))
    assert not (place / "runs").exists()
