"""Means of checkpoints: of tensors, with batch norms that fit, greedily, and as a run that stays only if better."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_house import tiny_config, write_small_folds
from torch import nn
from torch.optim.swa_utils import update_bn
from view_arrays import oof_array, predict_logits

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run
from foldpack.errors import FoldpackError
from foldpack.metrics.registry import get_metric
from foldpack.models.checkpoint import read_checkpoint, restore_net, save_checkpoint
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.run import RunConfig
from foldpack.train.averaging.average import average_runs
from foldpack.train.averaging.kept_epochs import KeptEpochs, read_info
from foldpack.train.averaging.soup import greedy_soup, mean_weights, renew_norms
from foldpack.train.load import load_training_set
from foldpack.train.run import train_run

ACCURACY = get_metric("accuracy")


def kept_config(run: str = "kept", **changes: object) -> RunConfig:
    return tiny_config(run, **{"epochs": 5, "keep": 3, **changes})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 digits in 2 folds, and the run `kept`, with three epochs of each fold. Read only."""
    root = tmp_path_factory.mktemp("average")
    write_digits(root / "data", root / "answers.csv", 120)
    write_small_folds(root / "data", root / "folds.csv")
    train_run(kept_config(), root / "data", root / "folds.csv", root / "runs", lambda text: None)
    return root


def averaged(place: Path, runs: Path, *names: str, how: str = "uniform", new: str = "new") -> list[str]:
    said: list[str] = []
    average_runs(names, new, how, place / "data", place / "folds.csv", runs, said.append)
    return said


def copied(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "runs", tmp_path / "runs"))


def test_the_mean_of_weights_keeps_types_and_takes_whole_numbers_from_the_first() -> None:
    one = {"w": torch.tensor([1.0, 2.0]), "h": torch.tensor([1.0], dtype=torch.float16), "n": torch.tensor(3)}
    two = {"w": torch.tensor([3.0, 6.0]), "h": torch.tensor([2.0], dtype=torch.float16), "n": torch.tensor(9)}
    mean = mean_weights([one, two])
    assert mean["w"].tolist() == [2.0, 4.0] and mean["w"].dtype == torch.float32
    assert mean["h"].tolist() == [1.5] and mean["h"].dtype == torch.float16 and mean["n"] == 3
    assert list(mean) == ["w", "h", "n"]


def test_batch_norms_get_the_statistics_that_torch_gives_them_and_frozen_ones_keep_theirs() -> None:
    torch.manual_seed(0)
    ours, torchs = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
                    for _ in range(2))
    torchs.load_state_dict(ours.state_dict())
    batches = [torch.randn(8, 3, 5, 5) + k for k in range(3)]
    update_bn(batches, torchs)
    ours.train()
    renew_norms(ours, batches)
    for name, tensor in torchs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor)
    assert ours[1].momentum == 0.1
    before = ours[1].running_mean.clone()
    ours[1].eval()
    renew_norms(ours, [batch * 2 for batch in batches])
    assert torch.equal(ours[1].running_mean, before)
    assert not torch.equal(ours[3].running_mean, torchs[3].running_mean)


@pytest.mark.parametrize(("name", "gains", "chosen"), [
    ("accuracy", {(0,): 0.5, (0, 1): 0.4, (0, 2): 0.5, (0, 2, 3): 0.7}, [0, 2, 3]),  # an equal score goes in
    ("log_loss", {(0,): 0.5, (0, 1): 0.4, (0, 1, 2): 0.6, (0, 1, 3): 0.45}, [0, 1]),
])
def test_greedy_takes_what_does_not_hurt(name: str, gains: dict[tuple[int, ...], float], chosen: list[int]) -> None:
    found, score = greedy_soup(4, lambda parts: gains[tuple(parts)], lambda score: score, get_metric(name))
    assert found == chosen and score == gains[tuple(chosen)]


def test_a_run_keeps_its_best_epochs(place: Path) -> None:
    folder = place / "runs" / "kept"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for fold in (0, 1):
        scores = {line["epoch"]: line["score"] for line in lines if line["fold"] == fold and "epoch" in line}
        best = sorted(scores, key=lambda epoch: (-scores[epoch], epoch))[:3]
        kept = KeptEpochs(folder, fold, 3, ACCURACY).best()
        assert len(scores) == 5 and [info.epoch for _, info in kept] == best
        assert [info.score for _, info in kept] == pytest.approx([scores[epoch] for epoch in best], abs=1e-6)
        first, whole = read_checkpoint(kept[0][0])[0], read_checkpoint(folder / f"fold{fold}.safetensors")[0]
        assert all(torch.equal(first[name], whole[name]) for name in whole)


def test_no_epoch_is_kept_where_none_is_asked_for_and_an_earlier_training_leaves_none(place: Path,
                                                                                      tmp_path: Path) -> None:
    runs = copied(place, tmp_path)
    assert list((runs / "kept").glob("fold*.epochs"))
    train_run(kept_config(keep=0, epochs=1), place / "data", place / "folds.csv", runs, lambda text: None)
    assert not list((runs / "kept").glob("fold*.epochs"))


def test_the_mean_becomes_a_run_that_predicts_what_its_weights_do(place: Path, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    runs = copied(place, tmp_path)
    monkeypatch.setattr("foldpack.train.averaging.average.is_better", lambda metric, score, best: True)
    said = averaged(place, runs, "kept")
    run, base = read_run(runs / "new"), read_run(runs / "kept")
    assert run.ids == base.ids and run.meta.config_sha256 != base.meta.config_sha256
    assert any(f"oof accuracy {run.meta.score:.4f}; kept: {base.meta.score:.4f}; better" in line for line in said)
    config = kept_config("new", keep=0)
    data = load_training_set(config, find_adapter("digits"), place / "data", place / "folds.csv", said.append)
    for fold in run.meta.folds:
        kept = KeptEpochs(runs / "kept", fold.fold, 3, ACCURACY).best()
        assert len(fold.averaged) == 3
        weights, info = read_checkpoint(runs / "new" / f"fold{fold.fold}.safetensors")
        assert (info.run, info.fold, info.epoch) == ("new", fold.fold, kept[0][1].epoch)
        mean = mean_weights(read_checkpoint(path)[0] for path, _ in kept)
        learned = [name for name in mean if "running" not in name and "num_batches" not in name]
        assert all(torch.equal(weights[name], mean[name]) for name in learned)
        norms = [name for name in mean if "running" in name]
        assert norms and not any(torch.equal(weights[name], mean[name]) for name in norms)
        inside = np.flatnonzero(run.fold == fold.fold)
        net = restore_net(weights, info, "new")
        logits = predict_logits(net, info.net, data.pixels.take(0, 96)[inside], config.views,
                                torch.device("cpu"), 64)
        np.testing.assert_allclose(logits, oof_array(run)[:, inside], atol=1e-4)
    spec, _ = search_runs("soup", [runs / "new", runs / "kept"], RunSearch(hours=1.0))
    assert spec.members


@pytest.mark.parametrize("how", ["uniform", "greedy"])
def test_it_stays_only_if_it_scores_better_and_no_run_is_changed(place: Path, tmp_path: Path, how: str) -> None:
    runs = copied(place, tmp_path)
    before = {path: path.read_bytes() for path in (runs / "kept").rglob("*") if path.is_file()}
    said = averaged(place, runs, "kept", how=how)
    base = read_run(runs / "kept")
    better = (runs / "new").exists()
    assert any(("; better, so it is" if better else "; no better, so nothing is written") in line for line in said)
    if better:
        assert read_run(runs / "new").meta.score > base.meta.score
    else:
        assert sorted(path.name for path in runs.iterdir()) == ["kept"]
    assert {path: path.read_bytes() for path in (runs / "kept").rglob("*") if path.is_file()} == before
    if better:
        assert len(read_run(runs / "new").meta.doubts) == (how == "greedy")
    if how == "greedy":
        assert "a little too good" in said[-1]
        folds = [line for line in said if line.startswith("new fold")]
        for fold, line in enumerate(folds):
            score = float(line.split("accuracy ")[1].split(",")[0])
            assert score >= round(base.meta.folds[fold].score, 4)  # it begins with the best and never gets worse


def test_batch_norms_decide(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without new statistics the mean predicts something else."""
    monkeypatch.setattr("foldpack.train.averaging.average.is_better", lambda metric, score, best: True)
    runs = copied(place, tmp_path)
    averaged(place, runs, "kept")
    monkeypatch.setattr("foldpack.train.averaging.average.renew_norms", lambda net, batches: None)
    averaged(place, runs, "kept", new="stale")
    assert np.abs(oof_array(read_run(runs / "new")) - oof_array(read_run(runs / "stale"))).max() > 0.1


def test_runs_of_the_same_start_are_averaged_and_others_refused(place: Path, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    runs = copied(place, tmp_path)
    start = {"file": str(runs / "kept" / "fold0.safetensors")}
    net = {"arch": "test_resnet", "size": 32, "pretrained": start}
    for name, changes in {"a": {"seed": 1}, "b": {"seed": 2}, "c": {"net": {**net, "mean": [0.0] * 3}},
                          "d": {"net": {**net, "pretrained": False}}}.items():
        asked = kept_config(name, **{"keep": 0, "epochs": 1, "net": net, **changes})
        train_run(asked, place / "data", place / "folds.csv", runs, lambda text: None)
    monkeypatch.setattr("foldpack.train.averaging.average.is_better", lambda metric, score, best: score >= best)
    Path(start["file"]).rename(tmp_path / "gone")  # averaging needs no weights to start from
    said = averaged(place, runs, "a", "b")
    assert sum("the mean of 2: " in line and "a epoch 0" in line and "b epoch 0" in line for line in said) == 2
    for names, message in {
        ("a", "c"): "differ in their networks",
        ("a", "d"): "differ in their start weights",
        ("d", "kept"): "started from scratch",
        ("a", "a"): "a run is named twice",
    }.items():
        with pytest.raises(FoldpackError, match=message):
            averaged(place, runs, *names, new="other")


def test_what_cannot_be_averaged_is_said(place: Path, tmp_path: Path) -> None:
    runs = copied(place, tmp_path)
    with pytest.raises(FoldpackError, match="there is such a run already"):
        averaged(place, runs, "kept", new="kept")
    with pytest.raises(FoldpackError, match="there is no such run"):
        averaged(place, runs, "absent")
    with pytest.raises(FoldpackError, match="how: input should be 'uniform' or 'greedy'"):
        averaged(place, runs, "kept", how="best")
    other = tmp_path / "folds.csv"
    write_small_folds(place / "data", other, 4)
    with pytest.raises(FoldpackError, match="was trained on other folds than those of"):
        average_runs(["kept"], "new", "uniform", place / "data", other, runs)
    for fold in (0, 1):
        shutil.rmtree(runs / "kept" / f"fold{fold}.epochs")
    with pytest.raises(FoldpackError, match="it kept 0 epochs a fold, and a mean needs 2; set keep: 3"):
        averaged(place, runs, "kept")
    assert sorted(path.name for path in runs.iterdir()) == ["kept"]


@pytest.mark.parametrize(("name", "left"), [("accuracy", [1, 3]), ("log_loss", [0, 2])])
def test_epochs_are_kept_in_the_metrics_own_direction(place: Path, tmp_path: Path, name: str, left: list[int]) -> None:
    weights, info = read_checkpoint(place / "runs" / "kept" / "fold0.safetensors")
    kept = KeptEpochs(tmp_path, 0, 2, get_metric(name))
    for epoch, score in enumerate([0.3, 0.5, 0.1, 0.5, float("nan")]):
        kept.offer(weights, info.model_copy(update={"epoch": epoch, "score": score}))
    assert sorted(info.epoch for _, info in kept.best()) == left


def test_a_broken_checkpoint_is_named(place: Path, tmp_path: Path) -> None:
    weights, info = read_checkpoint(place / "runs" / "kept" / "fold0.safetensors")
    save_checkpoint(tmp_path / "x.safetensors", weights, info)
    assert read_info(tmp_path / "x.safetensors") == info
    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(FoldpackError, match="x.safetensors: cannot read the checkpoint"):
        read_info(tmp_path / "x.safetensors")
