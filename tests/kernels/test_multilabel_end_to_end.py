"""A multi-label competition through the whole house: the YAML's threshold makes the same cells in search and kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_house import OWNER, PROJECT, load_entry, tiny_config

from foldpack.commands.recipe import FoldsConfig, RecipeConfig, make_recipe_folds
from foldpack.data.folds import read_folds
from foldpack.data.runs import read_run
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.kernel.answers import answer_cells
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.registry import get_metric
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import EnsembleSpec, read_spec, spec_to_dict, write_spec
from foldpack.train.run import train_run
from packer.build.kernel_folder import build_kernel

CLASSES = ["7", "10", "3"]  # in the order of labels.csv


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_place` makes, for all tests of this module."""
    return make_place(tmp_path_factory.mktemp("multilabel"))


def make_place(root: Path) -> Path:
    """60 + 12 images whose bright channels are their labels, grouped in pairs, and two runs on 2 folds."""
    chance, rows = np.random.default_rng(0), []
    for number in range(72):
        folder = root / "data" / ("train" if number < 60 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        labels = chance.random(3) < [0.6, 0.4, 0.2]
        pixels = chance.integers(0, 120, (16, 16, 3)) + 120 * labels
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"im{number}.png")
        rows.append((f"im{number}", " ".join(np.array(CLASSES)[labels]), f"g{number // 2}"))
    table = pd.DataFrame(rows, columns=["id", "attribute_ids", "pair"])
    table[:60].to_csv(root / "data" / "train.csv", index=False)
    table[60:][["id"]].assign(attribute_ids="0").to_csv(root / "data" / "sample_submission.csv", index=False)
    pd.DataFrame({"attribute_id": CLASSES, "attribute_name": "x"}).to_csv(root / "data" / "labels.csv", index=False)
    folds = FoldsConfig(kind="multilabel_grouped", count=2, group_column="pair")
    make_recipe_folds(RecipeConfig(name="m", competition="imet", folds=folds, runs=["-"]), root / "data",
                      root / "folds.csv", lambda text: None)
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16}}
    for run, seed in (("first", 1), ("second", 2)):
        config = tiny_config(run, competition="imet", net=net, loss={"name": "bce"}, metric="f2", epochs=3, seed=seed)
        train_run(config, root / "data", root / "folds.csv", root / "runs", lambda text: None)
    asked = RunSearch(hours=1.0, slug="my-imet")
    spec, _ = search_runs("multi", [root / "runs" / "first", root / "runs" / "second"], asked)
    write_spec(root / "multi.yml", spec)
    return root


def test_pairs_stay_together(place: Path) -> None:
    table = read_folds(place / "folds.csv")
    assert list(table.columns) == ["id", "fold", "attribute_ids", "group"]
    assert table.groupby("group")["fold"].nunique().max() == 1 and set(table["fold"]) == {0, 1}


def oof_probs(place: Path, spec: EnsembleSpec) -> tuple[np.ndarray, np.ndarray]:
    runs = [read_run(place / "runs" / member.run) for member in spec.members]
    probs = np.stack([merge_view_probs(run.logits, "multilabel") for run in runs])
    return blend_probs(probs, np.array([member.weight for member in spec.members]), spec.blend), runs[0].targets


def test_the_yaml_makes_the_score_that_it_claims(place: Path) -> None:
    """Cells as the kernel writes them, scored: the threshold means the same on both sides of the file."""
    spec = read_spec(place / "multi.yml")
    probs, targets = oof_probs(place, spec)
    cells = answer_cells(probs, spec.classes, "multilabel", spec.threshold, spec.min_labels, spec.max_labels)
    chosen = np.array([[name in cell.split() for name in spec.classes] for cell in cells])
    assert get_metric("f2")(targets, chosen) == pytest.approx(spec.metric.oof, abs=1e-6)
    assert spec.classes == CLASSES and spec.slug == "my-imet" and spec.metric.oof > 0.7
    assert spec.metric.nested is not None and spec.metric.nested <= spec.metric.oof + 0.02


def test_the_kernel_writes_labels(place: Path, tmp_path: Path) -> None:
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(place / "multi.yml", PROJECT, place / "runs", tmp_path / "build", OWNER, ring)
        keys = {str(fold.file): bytes(ring.data_key(str(fold.file).removesuffix(".sealed"))).hex()
                for member in build.spec.members for fold in member.folds}
    shutil.copytree(place / "data", tmp_path / "input" / "my-imet")
    shutil.copytree(build.weights, tmp_path / "input" / "weights")
    arguments = ["--input", str(tmp_path / "input"), "--output", str(tmp_path / "output"), "--hours", "20"]
    assert load_entry().main(spec_to_dict(build.spec), keys, arguments) == 0
    table = pd.read_csv(tmp_path / "output" / "submission.csv", dtype=str, keep_default_na=False)
    assert table["id"].tolist() == [f"im{number}" for number in range(60, 72)]
    sets = [cell.split() for cell in table["attribute_ids"]]
    assert all(1 <= len(words) <= 3 and set(words) <= set(CLASSES) for words in sets)
    assert all(words == sorted(words, key=CLASSES.index) for words in sets)
    truth = pd.read_csv(place / "folds.csv")  # the labels of test images are not in it: nothing leaks
    assert not set(truth["id"]) & set(table["id"])
