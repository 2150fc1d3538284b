"""`foldpack init`, then `foldpack recipe PROJECT --quick`: from a download to a kernel that beats the sample."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shapes import OF_OBJECTS, SHAPES, make_shape

from foldpack.commands.main import app as foldpack
from foldpack.commands.project import choose_recipe
from foldpack.commands.run_app import run_app
from foldpack.errors import FoldpackError
from foldpack.settings.network import NetConfig
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.settings.run import AugmentConfig, RunConfig
from foldpack.settings.training.loss import LossConfig
from foldpack.train.quick import ITEMS, quick_items, quick_recipe

LEARNED = [shape for shape in SHAPES if shape not in OF_OBJECTS]
AT_ONCE = "one_column"  # of the shapes, in every run of the tests


def walk(shape: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[pd.DataFrame, ...]:
    """(submission, sample, perfect submission) of a project that was made and run from another folder."""
    data, project = folder / "data", folder / "project"
    perfect = make_shape(shape, data, 96, 32).astype(str)
    assert run_app(foldpack, ["init", str(project), "--data", str(data), "--yes"]) == 0
    assert run_app(foldpack, ["recipe", str(project), "--quick", "--keyring", str(folder / "ring")]) == 0
    *others, honest, oof, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"honest \S+ -?\d+\.\d{4} \+- \d+\.\d{4}, the search repeated without the scored fold: expect "
                        "this on new images", honest) and re.fullmatch(r"oof \S+ -?\d+\.\d{4}", oof)
    assert not any(re.match("submission |request", line) for line in others)
    path = Path(last.removeprefix("submission "))
    assert path.is_relative_to(project / "quick" / "build") and not (project / "runs").exists()
    sample = next(iter(data.glob("*sample*.csv")))
    said, blank = (pd.read_csv(each, dtype=str, keep_default_na=False) for each in (path, sample))
    return said, blank, perfect


def closeness(table: pd.DataFrame, perfect: pd.DataFrame) -> float:
    """How near a submission is to the perfect one: less of the mean distance of numbers, or the share of cells that
    begin with the same word."""
    key = perfect.columns[0]
    ours, best = (each.set_index(key).sort_index() for each in (table, perfect))
    shares = []
    for column in best:
        said, true = (pd.to_numeric(each[column], errors="coerce") for each in (ours, best))
        amounts = len(best.columns) > 1 or set(true) <= {0, 1} or true.nunique() > 10
        if said.notna().all() and true.notna().all() and amounts:
            shares.append(-float((said - true).abs().mean()))
        else:
            words = [one.split()[:1] == two.split()[:1] for one, two in zip(ours[column], best[column], strict=True)]
            shares.append(sum(words) / len(words))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("shape", [pytest.param(shape, marks=[] if shape == AT_ONCE else pytest.mark.slow)
                                   for shape in LEARNED])
def test_a_quick_run_beats_the_sample(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    submission, sample, perfect = walk(shape, tmp_path, capsys)
    assert submission.columns.tolist() == perfect.columns.tolist()
    assert sorted(submission.iloc[:, 0]) == sorted(perfect.iloc[:, 0])
    assert closeness(submission, perfect) > closeness(sample[list(perfect.columns)], perfect)


def write_project(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "foldpack.yml").write_text(text)
    return folder


def test_a_project_is_run_as_if_one_stood_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(tmp_path / "p", "recipe: trees\ndata: ../data\n")
    monkeypatch.chdir(tmp_path)
    chosen = choose_recipe("p", None, Path("."), Path("ring"))
    assert (chosen.recipe, chosen.data, chosen.work) == ("trees", project / "../data", project)
    assert chosen.keyring == tmp_path / "ring" and Path.cwd() == project


def test_options_are_seen_from_where_the_command_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "p", "recipe: trees\n")
    monkeypatch.chdir(tmp_path)
    chosen = choose_recipe("p", Path("d"), Path("w"), None)
    assert (chosen.data, chosen.work, chosen.keyring) == (tmp_path / "d", tmp_path / "w", None)


def test_a_name_is_a_recipe_of_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(tmp_path / "p", "data: /somewhere\n")
    monkeypatch.chdir(project)
    chosen = choose_recipe("trees", None, Path("."), None)
    assert (chosen.recipe, chosen.data, chosen.work) == ("trees", Path("/somewhere"), project)


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        ("data: d\n", "p", "p/foldpack.yml: it names no recipe, as of boxes and masks, for which networks come later"),
        ("recipe: trees\n", "p", "p/foldpack.yml: it names no data; write `data: DIR`, or give --data DIR"),
        ("recipe: trees\n", "other", "other/foldpack.yml: there is no such file, so 'other' is no project; name or "
                                     "enter the folder of yours, or make one: `foldpack init PROJECT --data DIR`"),
        ("recipe: trees\n", ".", "foldpack.yml: there is no such file, so '.' is no project; name or enter the folder"),
        ("reciep: trees\n", "p", "p/foldpack.yml: unknown key 'reciep'"),
    ],
)
def test_what_a_project_lacks_is_named(text: str, asked: str, message: str, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "p", text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FoldpackError) as caught:
        choose_recipe(asked, None, Path("."), None)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert Path(os.getcwd()) == tmp_path


def test_commands_take_data_and_competition_of_the_project_that_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    make_shape("several_columns", tmp_path / "data")
    assert run_app(foldpack, ["init", str(tmp_path / "p"), "--data", str(tmp_path / "data"), "--yes"]) == 0
    monkeypatch.chdir(tmp_path / "p")
    assert run_app(foldpack, ["folds", "--kind", "multilabel_grouped", "--count", "2"]) == 0
    assert "items, multilabel_grouped" in capsys.readouterr().out and (tmp_path / "p" / "folds.csv").is_file()
    assert run_app(foldpack, ["check-submission", str(tmp_path / "data" / "sample_submission.csv")]) == 0
    monkeypatch.chdir(tmp_path)
    assert run_app(foldpack, ["folds", "--kind", "multilabel", "--competition", "p/competition.yml"]) == 2
    assert "foldpack.yml: there is no such file here; give --data DIR" in capsys.readouterr().err


def test_a_quick_recipe_keeps_what_is_learned_and_nothing_that_takes_long() -> None:
    run = RunConfig(run="baseline", competition="competition.yml", task="regress", loss=LossConfig(name="l1"),
                    metric="mae", net=NetConfig(arch="resnet50", size=[96, 32], channels=1, mean=[0.5], std=[0.25]),
                    augment=AugmentConfig(colour=0.0, erase=0.3, mixup=0.2), epochs=200, ema=0.99)
    recipe = RecipeConfig(name="trees", competition="competition.yml", runs=["baseline", "other"], hours=9,
                          folds=FoldsConfig(kind="grouped", count=5, group_column="patient"))
    quick, [short] = quick_recipe(recipe, run)
    assert (quick.name, quick.runs) == ("trees-quick", ["baseline-quick"])
    assert (quick.folds.count, quick.folds.group_column) == (2, "patient")
    assert (short.task, short.loss, short.metric, short.net.channels) == ("regress", run.loss, "mae", 1)
    assert short.net.size == 32 and short.epochs <= 60 and short.ema == 0
    assert (short.augment.hflip, short.augment.colour, short.augment.erase, short.augment.mixup) == (0, 0, 0, 0)


def test_a_quick_run_learns_from_a_few_items_of_each_class() -> None:
    classes = np.repeat([0, 1, 2], [5000, 300, 20])
    rows = quick_items(classes)
    assert len(rows) == ITEMS and (np.diff(rows) > 0).all()
    assert np.bincount(classes[rows]).tolist() == [190, 190, 20]
    assert len(quick_items(np.zeros((3000, 4), dtype=bool))) == ITEMS
    assert quick_items(np.array([1, 0, 1])).tolist() == [0, 1, 2]
