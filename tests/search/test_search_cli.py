"""./ensemble_search.py itself: level 2 and its study, retrieval, drift, and options that need others."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from test_level2_runs import specialists
from test_new_class import whales

from foldpack.errors import FoldpackError
from foldpack.search.files.blend_spec import read_blend
from foldpack.settings.ensemble import read_spec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cli():
    """(arguments) -> runs the command in this process."""
    place = importlib.util.spec_from_file_location("ensemble_search_cli", ROOT / "ensemble_search.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return lambda *arguments: module.app([str(one) for one in arguments], standalone_mode=False)


def test_runs_get_a_tuned_level_two(cli, tmp_path, capsys):
    specialists(tmp_path, "multiclass")
    options = ["--runs", tmp_path, "--out", tmp_path / "out", "--spaces", "probability", "--level2",
               "--level2-trials", 1, "--study", tmp_path / "trials.journal", "--level2-top", 2]
    cli("best", "low", "high", *options)
    spec = read_spec(tmp_path / "out" / "best.yml")
    assert spec.last.level2[0].top == 2 and len(spec.boosters) == 8
    numbers = json.loads((tmp_path / "out" / "best.report.json").read_text())
    assert numbers["level2"]["nested"] == pytest.approx(spec.last.level2[0].nested, abs=1e-6)
    assert (tmp_path / "trials.journal").stat().st_size > 0
    assert "it is used" in capsys.readouterr().out


def test_files_with_items_in_no_class_and_test_predictions(cli, tmp_path, capsys):
    paths, _ = whales(tmp_path)
    np.save(tmp_path / "test_a.npy", np.load(paths[0])[:200])
    np.save(tmp_path / "test_b.npy", np.load(paths[1])[:200] ** 3)
    cli("best", *paths, "--labels", tmp_path / "y.npy", "--metric", "map5", "--new-class", "--out", tmp_path,
        "--spaces", "probability", "--test", tmp_path / "test_a.npy", "--test", tmp_path / "test_b.npy")
    assert read_blend(tmp_path / "best.yml").last.decision.none_score > 0
    said = capsys.readouterr().out
    assert "'in no class' scores" in said and "b: test and out-of-fold predictions can be told apart" in said


@pytest.mark.parametrize(("options", "message"), [
    (["--study", "x.db"], "--level2-trials and --study tune level 2; give --level2 as well"),
    (["--level2-trials", "3"], "--level2-trials and --study tune level 2; give --level2 as well"),
    (["--level2", "--study", "x.db"], "--study keeps the trials of --level2-trials; say how many"),
    (["--new-class"], "--new-class, --test and --scores are for files of predictions, not for runs"),
    (["--test", "a.npy"], "--new-class, --test and --scores are for files of predictions, not for runs"),
])
def test_options_that_need_others(cli, options, message):
    with pytest.raises(FoldpackError, match=message):
        cli("best", "some_run", *options)
