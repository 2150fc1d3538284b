"""A run in half precision: half the size, its own out-of-fold predictions, and the cost on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from view_arrays import oof_array, predict_logits

from foldpack.data.runs import checkpoint_path, read_run
from foldpack.errors import DataError
from foldpack.models.checkpoint import read_checkpoint, restore_net
from foldpack.sealed.container import load_sealed_tensors, new_data_key, seal_file
from foldpack.train.halve import halve_run


@pytest.fixture(scope="module")
def halved(house: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[float, float]]:
    target = tmp_path_factory.mktemp("half") / "tiny_half"
    return target, halve_run(house.runs / "tiny_efficientnet", target, house.data, house.folds_csv, lambda _: None)


def test_it_is_a_finished_run_of_half_the_size(house: Any, halved: tuple[Path, tuple[float, float]]) -> None:
    before, after = read_run(house.runs / "tiny_efficientnet"), read_run(halved[0])
    assert after.meta.run == "tiny_half" and after.ids == before.ids
    assert (before.meta.score, after.meta.score) == halved[1]
    for fold in (0, 1):
        sizes = [checkpoint_path(run.folder, fold).stat().st_size for run in (before, after)]
        assert 0.4 < sizes[1] / sizes[0] < 0.7
        weights, info = read_checkpoint(checkpoint_path(halved[0], fold))
        assert info.run == "tiny_half"
        assert not any(tensor.dtype == torch.float32 for tensor in weights.values())


def test_the_predictions_are_those_of_the_rounded_weights(house: Any, halved: tuple[Path, tuple[float, float]]) -> None:
    before, after = read_run(house.runs / "tiny_efficientnet"), read_run(halved[0])
    change = np.abs(np.asarray(oof_array(after), np.float32) - np.asarray(oof_array(before), np.float32)).max()
    assert 0 < change < 0.2


def test_what_the_kernel_loads_gives_the_recorded_predictions(
    halved: tuple[Path, tuple[float, float]], tmp_path: Path
) -> None:
    """Sealed, opened in memory, put into a network: the same answers as from the plain halved weights."""
    key, plain = new_data_key(), checkpoint_path(halved[0], 0)
    seal_file(plain, tmp_path / "a.sealed", key, "tiny_half/fold0")
    weights, _ = load_sealed_tensors(tmp_path / "a.sealed", key, "tiny_half/fold0")
    direct, info = read_checkpoint(plain)
    pixels = np.random.default_rng(0).integers(0, 255, (3, info.net.size, info.net.size, 3), dtype=np.uint8)
    answers = [
        predict_logits(restore_net(each, info, "here"), info.net, pixels, ["identity"], torch.device("cpu"), 2)
        for each in (weights, direct)
    ]
    assert np.array_equal(*answers)


def test_the_cost_is_on_record(halved: tuple[Path, tuple[float, float]]) -> None:
    record = json.loads((halved[0] / "halved.json").read_text())
    assert (record["oof_before"], record["oof_after"]) == halved[1]
    assert record["oof_change"] == pytest.approx(halved[1][1] - halved[1][0])
    assert record["run"] == "tiny_efficientnet" and record["metric"] == "accuracy"
    assert all(0 < record["folds"][fold]["max_abs_error"] < 1e-2 for fold in ("0", "1"))


def test_refusals(house: Any, tmp_path: Path) -> None:
    source = house.runs / "tiny_efficientnet"
    with pytest.raises(DataError, match=r"none\.csv: not the folds that .* was trained on; give its own folds file"):
        halve_run(source, tmp_path / "a", house.data, tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"exists already; choose another name, or remove it"):
        halve_run(source, tmp_path, house.data, house.folds_csv)
