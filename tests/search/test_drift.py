"""Test predictions that do not look like the out-of-fold ones are named."""

import numpy as np
import pytest

from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search.checks.drift import DRIFT_AUC, member_drift
from foldpack.search.files.arrays import ArraySearch, search_arrays
from foldpack.search.find import SearchOptions
from foldpack.search.report.report import report_json


def predictions(seed, items, sharpness=2.0, classes=6):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (items, classes)) + sharpness * np.eye(classes)[rng.integers(0, classes, items)]
    return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


def test_sides_that_are_drawn_alike_are_not_told_apart():
    found = [member_drift("a", predictions(seed, 1500), predictions(seed + 100, 900)) for seed in range(4)]
    assert all(abs(one.auc - 0.5) < 0.05 and one.note is None for one in found)
    values = np.random.default_rng(0).normal(size=3000)
    assert member_drift("v", values[:2000], values[2000:]).note is None


def test_sharper_or_shifted_test_predictions_are_named():
    found = member_drift("a", predictions(0, 1500), predictions(1, 900, sharpness=4.0))
    assert found.auc > DRIFT_AUC and found.median_test > found.median_oof + 0.1
    assert found.note.startswith("a: test and out-of-fold predictions can be told apart (AUC 0.")
    values = np.random.default_rng(0).normal(size=3000)
    shifted = member_drift("v", values[:2000], values[2000:] + 1)
    assert shifted.note and shifted.median_test - shifted.median_oof == pytest.approx(1, abs=0.2)


def test_more_rows_than_are_looked_at_and_too_few():
    assert member_drift("a", predictions(0, 12_000), predictions(1, 11_000)).note is None
    with pytest.raises(DataError, match="--test for a: 2 rows are too few to compare"):
        member_drift("a", predictions(0, 100), predictions(1, 2))
    with pytest.raises(DataError, match=r"--test for a: shape \(50, 5\), its out-of-fold predictions have \(100, 6\)"):
        member_drift("a", predictions(0, 100), predictions(1, 50, classes=5))


def test_the_search_of_files_reports_it(tmp_path):
    y = np.random.default_rng(3).integers(0, 6, 400)
    paths = []
    for name, table in (("y", y), ("a", predictions(0, 400)), ("b", predictions(1, 400)),
                        ("ta", predictions(2, 300)), ("tb", predictions(3, 300, sharpness=6.0))):
        paths.append(tmp_path / f"{name}.npy")
        np.save(paths[-1], table)
    options = SearchOptions(spaces=["probability"])
    asked = ArraySearch(paths[1:3], paths[0], get_metric("log_loss"), options=options, tests=tuple(paths[3:]))
    _, numbers = search_arrays(tmp_path / "best.yml", asked)
    assert [one["name"] for one in numbers["drift"]] == ["a", "b"] and '"drift"' in report_json(numbers)
    assert [note.partition(":")[0] for note in numbers["notes"] if "told apart" in note] == ["b"]
    with pytest.raises(DataError, match="1 files of --test for 2 members; give one for each, in order"):
        search_arrays(tmp_path / "best.yml", ArraySearch(**{**vars(asked), "tests": (paths[3],)}))
