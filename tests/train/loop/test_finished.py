"""What a training says and keeps of a run that was begun before: finished folds, saved states, other settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_house import tiny_config, write_small_folds

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import append_log, read_run
from foldpack.errors import DataError
from foldpack.models.checkpoint import read_checkpoint, save_checkpoint
from foldpack.settings.run import ConfigError, RunConfig, config_text
from foldpack.train.loop.lock import LockedError, RunLock
from foldpack.train.loop.training import FoldTraining
from foldpack.train.run import train_run

COLUMN = "fold1.oof/view0/column.logits.npy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 digits in 3 folds, and the run `tiny` trained on them. Read only."""
    root = tmp_path_factory.mktemp("finished")
    write_digits(root / "data", root / "answers.csv", 80)
    write_small_folds(root / "data", root / "folds.csv", 3)
    train_run(quick(), root / "data", root / "folds.csv", root / "runs", print)
    return root


def quick(**changes: object) -> RunConfig:
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    return tiny_config("tiny", **{"net": net, "epochs": 2, **changes})


def copied(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place / "runs", tmp_path / "runs")
    return tmp_path / "runs/tiny"


def train(place: Path, tmp_path: Path, config: RunConfig | None = None, data: Path | None = None, **more) -> list[str]:
    said: list[str] = []
    train_run(config or quick(), data or place / "data", place / "folds.csv", tmp_path / "runs", said.append, **more)
    return said


@pytest.mark.parametrize(("name", "fault"), [
    ("nan", "some of its predictions are not finite"),
    ("changed", "its predictions were changed since, or are those of other weights"),
    ("short", "cannot read the rows"), ("fewer", "its predictions are of other items or views"),
    ("other weights", "its predictions were changed since, or are those of other weights")])
def test_a_fold_whose_predictions_are_not_whole_is_trained_anew(place: Path, tmp_path: Path, name, fault) -> None:
    folder = copied(place, tmp_path)
    path, rows = folder / COLUMN, np.load(folder / COLUMN)
    if name == "nan":  # with a checkpoint that is bound to nothing, as older ones are
        rows[3, 2] = np.nan
        weights, info = read_checkpoint(folder / "fold1.safetensors")
        save_checkpoint(folder / "fold1.safetensors", weights, info.model_copy(update={"oof_sha256": None}))
    if name == "changed":
        rows[3, 2] += 1
    if name in ("nan", "changed", "fewer"):
        np.save(path, rows[:-1] if name == "fewer" else rows)
    if name == "short":
        path.write_bytes(path.read_bytes()[:-20])
    if name == "other weights":
        np.save(path, np.resize(np.load(folder / COLUMN.replace("fold1", "fold0")), rows.shape))
    said = train(place, tmp_path)
    assert [line for line in said if "trained anew" in line and fault in line] == [said[0]]
    assert said[0].startswith("tiny fold 1: finished before, but ")
    assert sum("finished before, kept" in line for line in said) == 2
    assert (folder / COLUMN).read_bytes() == (place / "runs/tiny" / COLUMN).read_bytes()


def test_another_configuration_is_told_before_anything_is_trained(place: Path, tmp_path: Path) -> None:
    copied(place, tmp_path)
    said = train(place, tmp_path, quick(epochs=3, ema=0.5, workers=1, save_minutes=3))
    assert said[:4] == ["tiny: begun with another configuration, which counts no more: epochs 2 -> 3, ema 0.0 -> 0.5",
                        *(f"tiny fold {fold}: finished before, but with another configuration; it is trained anew"
                          for fold in range(3))]
    assert said[4] == (f"tiny: the finished folds of before are kept in {tmp_path}/runs/tiny/before1; remove it when "
                       "you need them no more")


def test_finished_folds_of_another_configuration_are_kept_as_a_run(place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path)
    train(place, tmp_path, quick(seed=5), only=[1])
    before, one = read_run(folder / "before1"), read_run(place / "runs/tiny")
    assert before.meta == one.meta and before.ids == one.ids and (before.targets == one.targets).all()
    assert (folder / "before1/config.yml").read_bytes() == (place / "runs/tiny/config.yml").read_bytes()
    for path in (place / "runs/tiny").glob("fold*.safetensors"):
        assert (folder / "before1" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in folder.glob("fold*")) == ["fold1.oof", "fold1.safetensors"]
    assert not [line for line in train(place, tmp_path, quick(seed=5), only=[]) if "before" in line]
    train(place, tmp_path, quick(seed=6), only=[])  # one fold of three was finished
    assert sorted(path.name for path in (folder / "before2").iterdir()) == [
        "config.yml", "fold1.oof", "fold1.safetensors", "log.jsonl"]
    assert not [line for line in train(place, tmp_path, quick(seed=7), only=[]) if "are kept in" in line]


@pytest.mark.parametrize("size", ["other", "same"])
def test_a_picture_of_another_size_is_another_one(place: Path, tmp_path: Path, size: str) -> None:
    """In bytes: that is what is compared, of a hundred thousand images too."""
    folder = copied(place, tmp_path)
    shutil.copytree(place / "data", tmp_path / "data", copy_function=shutil.copy)  # at another time
    if size == "other":
        with open(sorted((tmp_path / "data/train").rglob("*.*"))[5], "ab") as file:
            file.write(b"0")
    said = train(place, tmp_path, data=tmp_path / "data", only=[0])
    told = [line for line in said if "with images whose files have other sizes; it is trained anew" in line]
    assert len(told) == (size == "other")
    assert sorted(path.name for path in folder.glob("before1/fold*")) == (
        ["fold0.oof", "fold0.safetensors"] if size == "other" else [])
    assert (folder / "fold1.safetensors").exists()  # another process may have it


def test_a_checkpoint_that_does_not_tell_the_sizes_of_images_is_not_asked(place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path)
    for path in folder.glob("fold?.safetensors"):
        weights, info = read_checkpoint(path)
        assert info.images_sha256 is not None
        save_checkpoint(path, weights, info.model_copy(update={"images_sha256": None}))
    assert sum("finished before, kept" in line for line in train(place, tmp_path)) == 3


def test_another_label_is_other_data(place: Path, tmp_path: Path) -> None:
    copied(place, tmp_path)
    shutil.copytree(place / "data", tmp_path / "data")
    table = pd.read_csv(tmp_path / "data/train.csv", dtype=str)
    table.loc[0, "label"] = "7" if table.loc[0, "label"] != "7" else "8"
    table.to_csv(tmp_path / "data/train.csv", index=False)
    said = train(place, tmp_path, data=tmp_path / "data")
    assert [line for line in said if "with other labels or images; it is trained anew" in line] == said[:3]


class Stopped(FoldTraining):
    """Ctrl-C in the second epoch of fold 1."""

    def learn(self, groups, epoch: int, batch: int) -> tuple[float, int]:
        if (self.fold, epoch, batch) == (1, 1, 1):
            raise KeyboardInterrupt
        return super().learn(groups, epoch, batch)


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(place: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "tiny.yml").write_text(config_text(quick()))
    command = ["train", str(tmp_path / "tiny.yml"), "--data", str(place / "data"), "--folds", str(place / "folds.csv"),
               "--runs", str(tmp_path / "runs")]
    with monkeypatch.context() as patch:
        patch.setattr("foldpack.train.fit.FoldTraining", Stopped)
        assert run_app(foldpack, command) == 130
    told = capsys.readouterr()
    assert ("tiny: stopped; kept: finished folds 0, fold 1 up to the start of epoch 1; the same command goes on from "
            "there") in told.out.splitlines()
    assert told.err == "interrupted; finished parts are kept\n"
    assert run_app(foldpack, command) == 0
    assert "tiny fold 1: goes on in epoch 1" in capsys.readouterr().out.splitlines()
    for fold in range(3):
        first, again = (read_checkpoint(runs / f"tiny/fold{fold}.safetensors")[0]
                        for runs in (place / "runs", tmp_path / "runs"))
        assert all(torch.equal(first[name], again[name]) for name in first)
    assert not list((tmp_path / "runs/tiny").glob("*.state"))


def test_a_second_training_is_refused_before_it_changes_anything(place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path)
    other = RunLock(folder, print)
    other.take([2])
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*"))
    with pytest.raises(LockedError, match="run 'tiny': fold 2 is being trained by this very process"):
        train(place, tmp_path, quick(epochs=3))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*")) == before
    assert not [line for line in train(place, tmp_path, only=[0, 1]) if "trained anew" in line]  # others may be trained
    other.free()


def test_other_settings_are_refused_while_another_process_trains_any_fold(place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path)
    other = RunLock(folder, print)
    other.take([2])
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*"))
    for config, only in ((quick(epochs=3), [0]), (quick(epochs=3, folds=[0, 1]), None)):
        with pytest.raises(LockedError, match="fold 2 is being trained .*; there with other settings: epochs 2"):
            train(place, tmp_path, config, only=only)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*")) == before
    assert other.held == {2}
    other.free()


def test_several_processes_train_the_folds_of_one_run_and_the_last_one_finishes_it(place: Path, tmp_path: Path) -> None:
    assert train(place, tmp_path, only=[1])[-1] == (
        "tiny: 1 of 3 folds are finished, and not 0, 2; the run is finished with the last of them")
    with pytest.raises(DataError, match="not finished"):
        read_run(tmp_path / "runs/tiny")
    train(place, tmp_path, only=[2])
    assert "tiny: oof accuracy" in train(place, tmp_path, only=[0])[-1]
    one, other = read_run(place / "runs/tiny"), read_run(tmp_path / "runs/tiny")
    assert one.meta.oof_sha256 == other.meta.oof_sha256 and [each.fold for each in other.meta.folds] == [0, 1, 2]
    (tmp_path / "runs/tiny/meta.json").unlink()  # killed before it finished the run
    train(place, tmp_path, only=[])
    assert read_run(tmp_path / "runs/tiny").meta.oof_sha256 == one.meta.oof_sha256
    with pytest.raises(ConfigError, match=r"run 'tiny': it has no folds \[5\]; it has \[0, 1, 2\]"):
        train(place, tmp_path, only=[5])


def test_what_a_killed_process_left_half_written_is_removed(place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path)
    (folder / "fold1.safetensors").unlink()
    (folder / ".fold1.safetensors.123.tmp").write_bytes(b"half")
    (folder / ".fold1.oof.tmp").mkdir()
    (folder / "fold1.state").mkdir()
    (folder / "fold1.state/.state.safetensors.123.tmp").write_bytes(b"half")
    append_log(folder, {"fold": 1})
    train(place, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (place / "runs/tiny").iterdir())
