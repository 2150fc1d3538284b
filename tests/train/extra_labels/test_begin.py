"""Fold k begins with the weights of fold k of another run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from planted import Planted

from foldpack.competitions.adapters import find_adapter
from foldpack.data.runs import checkpoint_path, read_meta, write_meta
from foldpack.errors import FoldpackError
from foldpack.files import sha256_file
from foldpack.models.checkpoint import read_checkpoint
from foldpack.settings.network import WeightsOrigin
from foldpack.settings.run import RunConfig, config_hash
from foldpack.train.averaging.average import average_runs
from foldpack.train.checks import settled_run
from foldpack.train.dataset import TrainingSet
from foldpack.train.load import load_training_set
from foldpack.train.loop.training import FoldTraining


def quiet(text: str) -> None:
    """Nobody reads it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A finished run `first`. Read only."""
    place = Planted(tmp_path_factory.mktemp("begin") / "p", count=24)
    place.train("first", epochs=2, evaluate_every=2)
    return place


def loaded(place: Planted, config: RunConfig, folds_csv: Path | None = None) -> TrainingSet:
    settled = settled_run(config, place.root / "runs" / config.run, quiet)
    return load_training_set(settled, find_adapter(config.competition), place.root, folds_csv or place.folds_csv, quiet)


def going_on(place: Planted, run: str = "second", **changes: object) -> RunConfig:
    return place.config(run, begin={"folder": str(place.root / "runs/first")}, **changes)


def test_each_fold_begins_with_its_own_weights_head_and_all(place: Planted) -> None:
    config = settled_run(going_on(place), place.root, quiet)
    data = loaded(place, config)
    for fold in range(4):
        net = FoldTraining(config, data, fold).plain
        weights = read_checkpoint(checkpoint_path(place.root / "runs/first", fold))[0]
        assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())
    free = FoldTraining(place.config("second"), data, 0).plain
    assert not torch.equal(next(iter(free.state_dict().values())), next(iter(weights.values())))


def test_weights_that_were_changed_since_are_refused(place: Planted, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(place.root / "runs/first", tmp_path / "moved"))
    config = settled_run(place.config("second", begin={"folder": str(moved)}), tmp_path, quiet)
    data = loaded(place, config)
    shutil.copy(checkpoint_path(moved, 1), checkpoint_path(moved, 0))
    with pytest.raises(FoldpackError, match="fold0.safetensors was changed after this run had begun with it; bring"):
        FoldTraining(config, data, 0)
    meta = read_meta(moved)  # as if that run had been trained again, to its end
    digest = sha256_file(checkpoint_path(moved, 0))
    write_meta(moved, meta.model_copy(update={"folds": [
        each.model_copy(update={"sha256": digest}) if each.fold == 0 else each for each in meta.folds]}))
    with pytest.raises(FoldpackError, match="fold0.safetensors was changed after this run had begun with it; bring"):
        FoldTraining(config, data, 0)


def test_its_weights_decide_and_their_place_does_not(place: Planted, tmp_path: Path) -> None:
    moved = shutil.copytree(place.root / "runs/first", tmp_path / "moved")
    here, there = (config_hash(settled_run(place.config("second", begin={"folder": str(folder)}), tmp_path, quiet))
                   for folder in (place.root / "runs/first", moved))
    assert here == there != config_hash(place.config("second"))
    meta = read_meta(moved)
    other = [fold.model_copy(update={"sha256": "0" * 64}) for fold in meta.folds]
    write_meta(moved, meta.model_copy(update={"folds": other}))
    asked = place.config("second", begin={"folder": str(moved)})
    assert config_hash(settled_run(asked, tmp_path, quiet)) != here
    wanted = place.config("second", begin={"folder": str(moved), "sha256": "1" * 64})
    with pytest.raises(FoldpackError, match="and begin.sha256 wants 111111111111"):
        settled_run(wanted, tmp_path, quiet)


def test_a_run_tells_whose_weights_stood_at_the_beginning_and_what_is_doubted(place: Planted, tmp_path: Path) -> None:
    origin = WeightsOrigin(name="theirs", licence="apache-2.0")
    first = place.root / "runs/first"
    meta = read_meta(first)
    copied = Path(shutil.copytree(first, tmp_path / "first"))
    write_meta(copied, meta.model_copy(update={"start": origin, "doubts": ["somebody peeped"]}))
    told = place.train("third", epochs=1, evaluate_every=1, begin={"folder": str(copied)})
    assert told.start == origin and told.doubts == ["run 'first': somebody peeped"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"net": {"arch": "test_resnet", "size": 32}}, "its net.arch is .*nets.py:make, and that of this run is test_res"),
    ({"folds": [9]}, "has no fold 9; its folds are \\[0, 1, 2, 3\\]"),
])
def test_a_run_that_does_not_fit_is_refused(place: Planted, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FoldpackError, match=message):
        loaded(place, going_on(place, **changes))


def test_runs_of_other_folds_and_none_are_refused(place: Planted, tmp_path: Path) -> None:
    table = pd.read_csv(place.folds_csv)
    table["fold"] = (table["fold"] + 1) % 4
    table.to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(FoldpackError, match="its fold 0 was trained on other folds, so it may have learned from the "
                                            "items that are left out here"):
        loaded(place, going_on(place), tmp_path / "folds.csv")
    with pytest.raises(FoldpackError, match="there is no such run"):
        loaded(place, place.config("second", begin={"folder": str(tmp_path / "absent")}))


def test_all_folds_from_the_weights_of_one_are_marked(place: Planted) -> None:
    """Which have learned from the items of the others; those of the fold itself have not."""
    one = str(checkpoint_path(place.root / "runs/first", 1))
    net = place.config("first").net.model_dump(mode="json")
    config = place.config("spread", net={**net, "pretrained": {"file": one, "head": "keep"}})
    more = loaded(place, config).more
    assert more is not None
    assert more.doubts == ["its folds start from run 'first' fold 1, which has learned from the items of the other "
                           "folds; `begin` starts each fold from its own"]
    assert loaded(place, config.model_copy(update={"folds": [1]})).more is None


def test_weights_of_a_fold_of_other_folds_and_of_a_doubted_run_are_marked(place: Planted, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(place.root / "runs/first", tmp_path / "first"))
    net = place.config("first").net.model_dump(mode="json")
    start = {"file": str(checkpoint_path(copied, 1)), "head": "keep"}
    config = place.config("other", net={**net, "pretrained": start}, folds=[1])
    table = pd.read_csv(place.folds_csv)
    table["fold"] = (table["fold"] + 1) % 4
    table.to_csv(tmp_path / "folds.csv", index=False)
    more = loaded(place, config, tmp_path / "folds.csv").more
    assert more is not None
    assert more.doubts == ["its folds start from run 'first', which was trained on other folds, so it may have learned "
                           "from the items that are left out here; `begin` with a run of this folds.csv"]
    meta = read_meta(copied)
    write_meta(copied, meta.model_copy(update={"doubts": ["somebody peeped"]}))
    more = loaded(place, config).more
    assert more is not None and more.doubts == ["run 'first': somebody peeped"]
    write_meta(copied, meta.model_copy(update={"competition": "digits"}))  # what it learned is of another competition
    assert loaded(place, config, tmp_path / "folds.csv").more is None


def test_runs_that_began_with_the_same_folds_have_a_mean(place: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.train.averaging.average.is_better", lambda metric, score, best: score >= best)
    for run, seed in (("one", 1), ("two", 2)):
        place.train(run, epochs=1, evaluate_every=1, seed=seed, begin={"folder": str(place.root / "runs/first")})
    place.train("alone", epochs=1, evaluate_every=1)
    runs = place.root / "runs"
    average_runs(["one", "two"], "mean", "uniform", place.root, place.folds_csv, runs, quiet)
    parts = [read_checkpoint(checkpoint_path(runs / name, 1))[0] for name in ("one", "two")]
    for name, tensor in read_checkpoint(checkpoint_path(runs / "mean", 1))[0].items():
        np.testing.assert_allclose(tensor, (parts[0][name] + parts[1][name]) / 2, atol=1e-6)
    with pytest.raises(FoldpackError, match="differ in their start weights"):
        average_runs(["one", "alone"], "other", "uniform", place.root, place.folds_csv, runs, quiet)
