"""A multi-label competition through the whole house: the YAML's threshold makes the same cells in search and kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from multilabel_place import CLASSES, make_place
from small_house import OWNER, PROJECT, load_entry
from view_arrays import oof_array

from foldpack.data.folds import read_folds
from foldpack.data.rows import Rows
from foldpack.data.runs import read_run
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.registry import get_metric
from foldpack.settings.ensemble import EnsembleSpec, read_spec, spec_to_dict
from packer.build.kernel_folder import build_kernel


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_place` makes, for all tests of this module."""
    return make_place(tmp_path_factory.mktemp("multilabel"))


def test_pairs_stay_together(place: Path) -> None:
    table = read_folds(place / "folds.csv")
    assert list(table.columns) == ["id", "fold", "attribute_ids", "group"]
    assert table.groupby("group")["fold"].nunique().max() == 1 and set(table["fold"]) == {0, 1}


def oof_probs(place: Path, spec: EnsembleSpec) -> tuple[np.ndarray, np.ndarray]:
    runs = [read_run(place / "runs" / member.run) for member in spec.members]
    probs = np.stack([merge_view_probs(oof_array(run), "multilabel") for run in runs])
    return blend_probs(probs, np.array([member.weight for member in spec.members]), spec.last.fuse), runs[0].targets


def test_the_yaml_makes_the_score_that_it_claims(place: Path) -> None:
    """Cells as the kernel writes them, scored: the threshold means the same on both sides of the file."""
    spec = read_spec(place / "multi.yml")
    probs, targets = oof_probs(place, spec)
    answers = answers_of(Rows({"probs": probs}), spec.last.decision, spec.last.outputs)
    chosen = np.array([[name in words for name in spec.last.outputs.names] for words in answers.names or []])
    assert get_metric("f2")(targets, chosen) == pytest.approx(spec.metric.oof, abs=1e-6)
    assert spec.last.outputs.names == CLASSES and spec.slug == "my-imet" and spec.metric.oof > 0.7
    assert spec.metric.nested is not None and spec.metric.nested <= spec.metric.oof + 0.02


def test_the_kernel_writes_labels(place: Path, tmp_path: Path) -> None:
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(place / "multi.yml", PROJECT / "src", place / "runs", tmp_path / "build", OWNER, ring)
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
