"""`runs/<run>/` while it is trained: what a finished run holds, and what is kept when it is taken up again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_house import tiny_config, write_small_folds
from view_arrays import oof_array, views_array

from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import RunMeta, read_meta, read_oof, read_run, write_array, write_meta
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.errors import DataError, FoldpackError
from foldpack.models.checkpoint import read_checkpoint, save_checkpoint
from foldpack.models.classifier import ModelError
from foldpack.predict.view import ViewError
from foldpack.settings.run import ConfigError, RunConfig, config_text, read_config
from foldpack.train.checks import check_names, chosen_folds, tell_metric
from foldpack.train.load import load_training_set
from foldpack.train.run import train_run

DIGITS = find_adapter("digits")
OOF = "oof/view0/column.logits.npy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 digits in 3 folds, and the run `tiny` trained on them. Read only."""
    root = tmp_path_factory.mktemp("run")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", 3)
    train_run(quick(), root / "data", root / "folds.csv", root / "runs", print)
    return root


def quick(**changes: object) -> RunConfig:
    """A net of one patch: trains in no time."""
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    return tiny_config("tiny", **{"net": net, "epochs": 1, "views": ["hflip", "identity"], **changes})


def again(place: Path, tmp_path: Path, config: RunConfig, folds_csv: Path | None = None) -> tuple[list[str], Path]:
    """Train on a copy of the runs. Returns what was said and the run's folder."""
    said: list[str] = []
    if not (tmp_path / "runs").exists():
        shutil.copytree(place / "runs", tmp_path / "runs")
    train_run(config, place / "data", folds_csv or place / "folds.csv", tmp_path / "runs", said.append)
    return said, tmp_path / "runs" / config.run


def kept(said: list[str]) -> list[int]:
    """The folds that were not trained again."""
    return [fold for fold in range(3) if f"tiny fold {fold}: finished before, kept" in said]


def test_a_finished_run_holds_everything(place: Path) -> None:
    folder = place / "runs" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".lock", "config.yml", "log.jsonl", "meta.json", "oof", "oof.csv", "targets.npy"]
        + [f"fold{k}.{end}" for k in range(3) for end in ("safetensors", "oof")])
    run, table = read_run(folder), pd.read_csv(place / "folds.csv", dtype=str)
    assert run.ids == table["id"].tolist() and run.fold.tolist() == table["fold"].astype(int).tolist()
    assert run.targets.tolist() == table["label"].astype(int).tolist()
    assert oof_array(run).shape == (2, 80, 10) and oof_array(run).dtype == np.float32
    for fold in range(3):
        part = views_array(read_oof(folder / f"fold{fold}.oof", "multiclass"))
        assert (oof_array(run)[:, run.fold == fold] == part).all()
    hits = merge_view_probs(oof_array(run), "multiclass").argmax(axis=1) == run.targets
    assert run.meta.score == pytest.approx(hits.mean()) and run.meta.metric == "accuracy"
    assert [one.score for one in run.meta.folds] == pytest.approx([hits[run.fold == k].mean() for k in range(3)])
    assert [one.items for one in run.meta.folds] == np.bincount(run.fold).tolist()
    assert sum(run.meta.prior) == pytest.approx(1, abs=1e-5) and run.meta.views == ["hflip", "identity"]
    assert read_config(folder / "config.yml") == quick()
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [entry["fold"] for entry in entries if "epoch" in entry] == [0, 1, 2]
    assert all(entry["seconds_per_image"] > 0 for entry in entries if "best_epoch" in entry)


def test_the_number_of_workers_changes_no_prediction(place: Path, tmp_path: Path) -> None:
    augment = {"hflip": 0.5, "affine": 1.0, "colour": 1.0, "mixup": 0.2}
    written = []
    for workers in (0, 2):
        runs = tmp_path / str(workers)
        train_run(quick(augment=augment, epochs=2, workers=workers), place / "data", place / "folds.csv", runs, print)
        written.append((runs / "tiny" / OOF).read_bytes())
    assert written[0] == written[1]
    assert written[0] != (place / "runs" / "tiny" / OOF).read_bytes()


def train_command(place: Path, tmp_path: Path, config: RunConfig) -> int:
    """`foldpack train` with this configuration; its exit code."""
    (tmp_path / "tiny.yml").write_text(config_text(config))
    folders = ["--data", str(place / "data"), "--folds", str(place / "folds.csv"), "--runs", str(tmp_path / "runs")]
    return run_app(foldpack, ["train", str(tmp_path / "tiny.yml"), *folders])


@pytest.mark.parametrize(
    ("optim", "falls"),
    [
        ({"schedule": "step", "decay_epochs": 2}, [0, 0, 1, 1]),
        ({"schedule": "multistep", "decay_milestones": [1, 3]}, [0, 1, 1, 2]),
        ({"schedule": "plateau", "patience_epochs": 0}, None),
        ({"schedule": "constant"}, [0, 0, 0, 0]),
    ],
)
def test_the_log_of_a_command_shows_how_the_rate_falls(place: Path, tmp_path: Path, capsys, optim, falls) -> None:
    config = quick(epochs=4, folds=[0], optim={"lr": 1e-3, "warmup_epochs": 0, "decay_rate": 0.5, **optim}
                   if optim["schedule"] != "constant" else {"lr": 1e-3, "warmup_epochs": 0, **optim})
    assert train_command(place, tmp_path, config) == 0
    entries = [json.loads(line) for line in (tmp_path / "runs/tiny/log.jsonl").read_text().splitlines()]
    rates, scores = ([entry[name] for entry in entries if "epoch" in entry] for name in ("lr", "score"))
    if falls is None:  # after every epoch that is no better than all before it
        falls = np.cumsum([0, *(scores[k] <= max(scores[:k]) * 1.0001 if k else 0 for k in range(3))])
    assert rates == pytest.approx([1e-3 * 0.5**count for count in falls])
    assert f"epoch 3: lr {rates[3]:.3g}, loss " in capsys.readouterr().out


def test_the_command_refuses_a_schedule_that_does_nothing(place: Path, tmp_path: Path, capsys) -> None:
    assert train_command(place, tmp_path, quick(epochs=20, optim={"schedule": "step"})) == 2
    assert "run 'tiny': schedule 'step' never changes the learning rate in 20 epochs" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_done_is_kept_as_it_is(place: Path, tmp_path: Path) -> None:
    said, folder = again(place, tmp_path, quick())
    assert kept(said) == [0, 1, 2]
    for name in ("meta.json", OOF, "oof.csv", "targets.npy", "fold1.safetensors"):
        assert (folder / name).read_bytes() == (place / "runs/tiny" / name).read_bytes()


@pytest.mark.parametrize("name", ["fold1.safetensors", f"fold1.{OOF}"])
@pytest.mark.parametrize("content", [None, b"broken"])
def test_only_what_is_lost_or_broken_is_trained_again(place, tmp_path, name: str, content: bytes | None) -> None:
    path = Path(shutil.copytree(place / "runs", tmp_path / "runs")) / "tiny" / name
    path.unlink() if content is None else path.write_bytes(content)
    said, folder = again(place, tmp_path, quick())
    assert kept(said) == [0, 2]
    assert (folder / OOF).read_bytes() == (place / "runs/tiny" / OOF).read_bytes()  # the same seed


def test_a_run_of_version_1_is_kept_and_goes_on(place: Path, tmp_path: Path) -> None:
    """Its folds have a file in place of a folder; what is joined and written is as of today, with the same numbers."""
    folder = Path(shutil.copytree(place / "runs", tmp_path / "runs")) / "tiny"
    digest = ""
    for path in [*folder.glob("fold?.oof"), folder / "oof"]:
        digest = write_array(path.with_name(f"{path.name}.npy"), views_array(read_oof(path, "multiclass")))
        shutil.rmtree(path)
    for path in folder.glob("fold?.safetensors"):
        weights, info = read_checkpoint(path)
        save_checkpoint(path, weights, info.model_copy(update={"oof_sha256": None, "data_sha256": None}))
    old = {**read_meta(folder).model_dump(), "version": 1, "oof_sha256": digest}
    write_meta(folder, RunMeta.model_validate(old))
    assert (oof_array(read_run(folder)) == oof_array(read_run(place / "runs" / "tiny"))).all()
    said, folder = again(place, tmp_path, quick())
    assert kept(said) == [0, 1, 2] and read_meta(folder).version == 2 and not (folder / "oof.npy").exists()
    assert (folder / OOF).read_bytes() == (place / "runs/tiny" / OOF).read_bytes()


def test_another_configuration_is_trained_anew(place: Path, tmp_path: Path) -> None:
    said, folder = again(place, tmp_path, quick(oof_dtype="float16", seed=9))
    assert kept(said) == []
    run = read_run(folder)
    assert oof_array(run).dtype == np.float16 and read_config(folder / "config.yml").seed == 9
    assert read_checkpoint(folder / "fold0.safetensors")[1].config_sha256 == run.meta.config_sha256


def test_other_folds_are_trained_anew(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "folds.csv", tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv", dtype=str).iloc[:-1]
    table.to_csv(tmp_path / "folds.csv", index=False)
    said, folder = again(place, tmp_path, quick(), tmp_path / "folds.csv")
    assert kept(said) == [] and oof_array(read_run(folder)).shape == (2, 79, 10)


def test_more_folds_of_the_same_configuration_join_those_that_are_done(place: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    _, folder = again(place, tmp_path, quick(folds=[1]))
    run = read_run(folder)
    assert set(run.fold) == {1} and len(run.ids) == oof_array(run).shape[1] == 27 and len(run.meta.folds) == 1
    said, folder = again(place, tmp_path, quick(folds=[2, 1]))
    assert kept(said) == [1] and set(read_run(folder).fold) == {1, 2}


def test_an_interrupted_run_is_unfinished_and_keeps_its_folds(place: Path, tmp_path: Path, monkeypatch) -> None:
    import foldpack.train.run as module

    real = module.fit_fold

    def stop_at_fold_1(config, data, fold, *more):
        if fold == 1:
            raise KeyboardInterrupt
        return real(config, data, fold, *more)

    monkeypatch.setattr(module, "fit_fold", stop_at_fold_1)
    with pytest.raises(KeyboardInterrupt):
        again(place, tmp_path, quick(seed=4))
    with pytest.raises(DataError, match="not finished"):
        read_run(tmp_path / "runs" / "tiny")
    assert not (tmp_path / "runs/tiny/fold1.safetensors").exists()
    monkeypatch.setattr(module, "fit_fold", real)
    assert kept(again(place, tmp_path, quick(seed=4))[0]) == [0]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"metric": "acuracy"}, FoldpackError, "metric 'acuracy' is not known: did you mean 'accuracy'"),
        ({"metric": "f2"}, ConfigError, "metric 'f2' of labels does not fit the multiclass competition 'digits'; choo"),
        ({"metric": "rmse"}, ConfigError, "metric 'rmse' of values does not fit the multiclass competition 'digits'"),
        ({"metric": "qwk"}, ConfigError, "metric 'qwk' of grades does not fit"),
        ({"loss": {"name": "bce"}}, ConfigError, "loss 'bce' does not fit a multiclass competition; allowed: cross_en"),
        ({"views": ["hflip", "rot45"]}, ViewError, "unknown view 'rot45'"),
        ({"net": {"arch": "resnet10", "size": 32}}, ModelError, "unknown network 'resnet10': did you mean 'resnet10t'"),
        ({"net": {"arch": "vit_tiny_patch16_224", "size": 32}}, ModelError, "does not take images of 32 px"),
        ({"optim": {"name": "adamwx"}}, ConfigError, "optimiser 'adamwx' cannot be built"),
        ({"optim": {"schedule": "cosin"}}, ConfigError, "schedule 'cosin' cannot be built"),
        ({"optim": {"schedule": "step"}}, ConfigError, "schedule 'step' never changes the learning rate in 1 epochs"),
        ({"precision": "fp16"}, ConfigError, "precision fp16 needs a GPU, and there is none; allowed here: no, bf16"),
    ],
)
def test_names_are_checked_before_a_finished_run_is_touched(place, monkeypatch, changes, kind, message) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (place / "runs/tiny").iterdir())
    with pytest.raises(kind) as caught:
        train_run(quick(**changes), place / "data", place / "folds.csv", place / "runs", print)
    assert message in str(caught.value)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (place / "runs/tiny").iterdir()) == before


def test_a_run_may_follow_a_metric_of_probabilities_which_its_kernel_hands_in(place: Path, tmp_path: Path) -> None:
    said, folder = again(place, tmp_path, quick(metric="auc"))
    assert not [line for line in said if "warning" in line] and (folder / "meta.json").exists()


def test_a_metric_that_no_kernel_is_scored_by_is_told_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.train.checks.training_task", lambda config, task: "embed")
    said: list[str] = []
    tell_metric(quick(metric="log_loss"), DIGITS, said.append)
    tell_metric(quick(metric="map5"), DIGITS, said.append)
    assert said == [
        "warning: run 'tiny': metric 'log_loss' scores probabilities, but a kernel hands in a ranked list of classes "
        "an item; allowed: map10, map3, map5, recall10, recall5, top5_accuracy; the epochs follow it all the same, but "
        "the search will need --metric with one of these"]


def test_a_multilabel_competition_takes_metrics_of_labels() -> None:
    check_names(quick(competition="imet", metric="f2", loss={"name": "bce"}), find_adapter("imet"))
    with pytest.raises(ConfigError, match="metric 'accuracy' of probs does not fit the multilabel competition 'imet'"):
        check_names(quick(competition="imet"), find_adapter("imet"))
    assert DIGITS.task == "multiclass"


@pytest.mark.parametrize(
    ("folds", "fold", "kind", "message"),
    [
        ([3], [0, 1, 0, 1], ConfigError, r"run 'tiny': folds \[3\]; f.csv has \[0, 1\]"),
        ([0, 5, 7], [0, 1, 0, 1], ConfigError, r"run 'tiny': folds \[0, 5, 7\]; f.csv has \[0, 1\], and not 5, 7$"),
        ([], [0, 1, 0, 1], ConfigError, r"run 'tiny': folds \[\]; f.csv has \[0, 1\]"),
        (None, [0, 0, 0], DataError, r"f.csv: 3 items in folds \[0\] of \[3\] items; at least 2 folds are needed"),
        (None, [], DataError, r"f.csv: 0 items in folds \[\] of \[\] items"),
        (None, [0, 0, 0, 1], DataError, r"f.csv: 4 items in folds \[0, 1\] of \[3, 1\] items; .* 2 items outside each"),
    ],
)
def test_folds_that_cannot_be_trained(folds, fold, kind, message) -> None:
    with pytest.raises(kind, match=message):
        chosen_folds(quick(folds=folds), np.array(fold, dtype=np.int64), Path("f.csv"))


def test_folds_are_trained_in_order_and_once() -> None:
    assert chosen_folds(quick(folds=[2, 0, 2]), np.array([0, 1, 2, 0, 1, 2]), Path("f")) == [0, 2]
    assert chosen_folds(quick(), np.array([5, 1, 5, 1]), Path("f")) == [1, 5]


def test_a_fold_that_the_metric_cannot_score_is_refused_before_training(place: Path, tmp_path: Path) -> None:
    table = pd.read_csv(place / "folds.csv", dtype=str)
    table["fold"] = np.where(table["label"] == "3", "1", "0")
    table.to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(ConfigError) as caught:
        train_run(quick(metric="auc"), place / "data", tmp_path / "folds.csv", tmp_path / "runs", print)
    assert "folds.csv: metric 'auc' is not defined on fold 1, whose " in str(caught.value)
    assert str(caught.value).endswith("items are of 1 class; make other folds, or choose another metric")
    assert not (tmp_path / "runs").exists()


def test_a_training_image_that_was_repaired_is_told(place, tmp_path) -> None:
    data = Path(shutil.copytree(place / "data", tmp_path / "data"))
    path = data / "train" / "digit_0001.png"
    noise = np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    said: list[str] = []
    loaded = load_training_set(quick(), DIGITS, data, place / "folds.csv", said.append)
    assert len(loaded.pixels) == len(loaded.ids)
    warning = f"warning: 1 training images are damaged and were repaired, such as {path}"
    assert len(said) == 1 and said[0].startswith(warning)
    load_training_set(quick(), DIGITS, place / "data", place / "folds.csv", said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data, folds: (data / "train" / "digit_0001.png").unlink(), "folds.csv: id 'digit_0001' has no image a"),
        (lambda data, folds: (data / "train" / "digit_0001.png").write_bytes(b"x"),
         "digit_0001.png: cannot decode the image .*; 1 training images are broken: mend them, or set `broken: skip`"),
        (lambda data, folds: folds.write_text(folds.read_text().replace("digit_0001", "other", 1)),
         "folds.csv: id 'other' is no training item of the competition .*; make the folds again with `foldpack folds`"),
        (lambda data, folds: folds.write_text("id,fold,label\n"), "folds.csv: the table has no rows; make the folds"),
        (lambda data, folds: folds.unlink(), "folds.csv: cannot read the folds .*; make them with `foldpack folds`"),
    ],
)
def test_data_that_does_not_fit_leaves_no_run_behind(place, tmp_path, damage, message) -> None:
    data = Path(shutil.copytree(place / "data", tmp_path / "data"))
    folds_csv = Path(shutil.copy(place / "folds.csv", tmp_path / "folds.csv"))
    damage(data, folds_csv)
    with pytest.raises(DataError, match=message):
        train_run(quick(), data, folds_csv, tmp_path / "runs", print)
    assert not (tmp_path / "runs").exists()
