"""A recipe's folds: groups from a column, groups from a file; and recipes that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_competition import competition_of, write_files
from PIL import Image
from small_house import tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.recipe import (
    RecipeError,
    make_recipe_folds,
    read_groups,
    run_recipe,
    run_step,
    search_metric,
)
from foldpack.commands.run_app import run_app
from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.digits_source import write_digits
from foldpack.data.folds import read_folds
from foldpack.errors import DataError
from foldpack.models.start_files import StartError
from foldpack.settings.competition import competition_text
from foldpack.settings.recipe import FoldsConfig, RecipeConfig, read_recipe
from foldpack.settings.run import ConfigError

SUBJECTS = [row // 2 for row in range(80)]
IDS = [f"d{row}" for row in range(80)]
CELLS = [f"{row % 5} 5" if row % 3 else str(row % 5) for row in range(80)]
PROJECT = Path(__file__).resolve().parents[2]
TINY_RUN = """\
run: {run}
competition: {competition}
metric: f2
net: {{arch: test_resnet, size: 32}}
loss: {{name: bce}}
"""


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition laid out as iMet is: 80 items in pairs, the pair in a column. Nobody changes it."""
    folder = tmp_path_factory.mktemp("museum")
    (folder / "train").mkdir()
    pd.DataFrame({"attribute_id": range(6), "attribute_name": "x"}).to_csv(folder / "labels.csv", index=False)
    for item in IDS:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "train" / f"{item}.png")
    pd.DataFrame({"id": IDS, "attribute_ids": CELLS, "subject": SUBJECTS}).to_csv(folder / "train.csv", index=False)
    return folder


def folds_of(museum: Path, folder: Path, folds: FoldsConfig) -> tuple[pd.DataFrame, dict, list[str]]:
    """folds.csv, what its note says it was made by, and what was printed."""
    said: list[str] = []
    recipe = RecipeConfig(name="museum", competition="imet", folds=folds, runs=["-"])
    make_recipe_folds(recipe, museum, folder / "folds.csv", said.append)
    return read_folds(folder / "folds.csv"), json.loads((folder / "folds.json").read_text())["made_by"], said


def test_folds_keep_the_groups_of_a_column_whole(museum: Path, tmp_path: Path) -> None:
    folds = FoldsConfig(kind="multilabel_grouped", count=2, group_column="subject")
    table, made_by, said = folds_of(museum, tmp_path, folds)
    assert table.columns.tolist() == ["id", "fold", "attribute_ids", "group"]
    assert table["group"].tolist() == [str(subject) for subject in SUBJECTS]
    assert table.groupby("group")["fold"].nunique().max() == 1
    assert table["attribute_ids"].tolist() == CELLS
    assert made_by == {"recipe": "museum", "kind": "multilabel_grouped", "count": 2, "seed": 0,
                       "group_column": "subject"}
    assert len(said) == 1 and said[0].endswith("items, multilabel_grouped")


def group_csv(folder: Path, groups: dict[str, str]) -> str:
    pd.DataFrame({"id": list(groups), "group": list(groups.values())}).to_csv(folder / "groups.csv", index=False)
    return str(folder / "groups.csv")


def test_folds_take_groups_by_id_and_an_empty_one_is_each_items_own(museum: Path, tmp_path: Path) -> None:
    """Rows in another order, rows of other ids, and one item in two without a group."""
    given = {item: str(pair) if pair % 2 else ("", "NA", "nan ")[pair % 3]
             for item, pair in zip(IDS, SUBJECTS, strict=True)}
    path = group_csv(tmp_path, dict(reversed(given.items())) | {"of the test set": "3"})
    table, made_by, _ = folds_of(museum, tmp_path, FoldsConfig(kind="multilabel_grouped", count=2, groups=path))
    assert made_by["groups"] == path and table["id"].tolist() == IDS and table["attribute_ids"].tolist() == CELLS
    paired = table[[pair % 2 == 1 for pair in SUBJECTS]]
    assert paired.groupby("group")["fold"].nunique().max() == 1 and paired["group"].nunique() == 20
    alone = table[[pair % 2 == 0 for pair in SUBJECTS]]
    assert alone["group"].nunique() == len(alone) == 40 and set(alone["fold"]) == {0, 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,group\nd0,1\nd0,2\n", "id 'd0' stands there more than once; every item has one group"),
        ("id,group\nd0,1\n", "id 'd1' has no row (79 of 80 ids have none); give each one"),
        ("id,groups\nd0,1\n", "column 'group' is missing, got: id, groups; needed: id, group"),
        ("", "cannot read the groups"),
        (None, "cannot read the groups"),
    ],
)
def test_each_fault_of_a_file_of_groups_is_named(museum: Path, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "groups.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as caught:
        folds_of(museum, tmp_path, FoldsConfig(kind="multilabel_grouped", count=2, groups=str(path)))
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_groups_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,label,artist\na,1,007\nb,2,\n")
    assert read_groups(find_adapter("digits").train(tmp_path), "artist") == ["007", ""]


def test_the_command_gives_an_item_without_a_group_one_of_its_own_and_says_so(tmp_path: Path, capsys) -> None:
    data, out = tmp_path / "data", tmp_path / "folds.csv"
    write_digits(data, tmp_path / "answers.csv", 150)
    train = pd.read_csv(data / "train.csv", dtype=str)
    patients = [["p1", "p1", "", "NA", "p2", " "][row % 6] for row in range(len(train))]
    train.assign(patient=patients).to_csv(data / "train.csv", index=False)
    folding = ["folds", "--data", str(data), "--competition", "digits", "--count", "3", "--out", str(out)]
    assert run_app(foldpack, [*folding, "--kind", "stratified_grouped", "--group-column", "patient"]) == 0
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert (table["group"] == "").sum() == 60 and table.groupby("group")["fold"].nunique().to_dict() == {
        "": 3, "p1": 1, "p2": 1}
    said = capsys.readouterr().out
    assert "train.csv: 60 of 120 items have no patient ('', 'NA'), each is a group of its own\n" in said


def test_folds_that_would_split_the_groups_are_refused(tmp_path: Path, capsys) -> None:
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 60)
    folding = ["folds", "--data", str(tmp_path / "data"), "--competition", "digits", "--kind", "stratified", "--count"]
    assert run_app(foldpack, [*folding, "2", "--group-column", "label", "--out", str(tmp_path / "folds.csv")]) == 2
    said = capsys.readouterr().err
    assert "folds of kind 'stratified' would split the groups; use one of: grouped, stratified_grouped, multi" in said
    assert not (tmp_path / "folds.csv").exists()


def test_a_missing_group_column_is_named(museum: Path) -> None:
    with pytest.raises(DataError, match=r"train.csv: group column 'artist' is missing, got: id, attribute_ids, subj"):
        read_groups(find_adapter("imet").train(museum), "artist")


def write_recipe(project: Path, run: str = "one", competition: str = "imet", extra: str = "",
                 kind: str = "multilabel") -> None:
    folder = project / "configs" / "museum"
    folder.mkdir(parents=True)
    (folder / "recipe.yml").write_text(
        f"name: museum\ncompetition: imet\nfolds: {{kind: {kind}, count: 3{extra}}}\nruns: [one]\n")
    (folder / "one.yml").write_text(TINY_RUN.format(run=run, competition=competition))


def test_a_recipe_comes_with_its_runs(tmp_path: Path) -> None:
    write_recipe(tmp_path, extra=", groups: groups.csv", kind="multilabel_grouped")
    recipe, configs = read_recipe(tmp_path / "configs", "museum")
    assert recipe.folds.groups == "groups.csv" and recipe.hours == 9.0 and recipe.slug is None
    assert [config.run for config in configs] == ["one"]


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(PROJECT.glob("configs/*/recipe.yml"))])
def test_the_recipes_of_the_project_are_sound(name: str) -> None:
    recipe, configs = read_recipe(PROJECT / "configs", name)
    assert len(configs) == len(recipe.runs)


def test_an_unknown_recipe_is_met_with_the_nearest(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    with pytest.raises(ConfigError, match="unknown recipe 'musem': did you mean 'museum'"):
        read_recipe(tmp_path / "configs", "musem")


@pytest.mark.parametrize(("run", "competition"), [("one", "digits"), ("two", "imet")])
def test_a_run_must_belong_to_the_recipe(tmp_path: Path, run: str, competition: str) -> None:
    write_recipe(tmp_path, run, competition)
    with pytest.raises(ConfigError, match=f"one.yml: run '{run}' of competition '{competition}'; "
                                          "expected run 'one' of 'imet'"):
        read_recipe(tmp_path / "configs", "museum")


F2_RUN = TINY_RUN.replace("bce", "cross_entropy").format(run="one", competition="digits")


def test_a_metric_that_no_kernel_can_be_scored_by_is_refused_before_anything_is_trained(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path)
    folder = tmp_path / "configs" / "museum"
    text = "name: other\ncompetition: digits\nfolds: {kind: stratified, count: 3}\nruns: [one]\n"
    (folder / "recipe.yml").write_text(f"{text}metric: f2\n")
    (folder / "one.yml").write_text(F2_RUN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        run_recipe("museum", tmp_path / "data", tmp_path / "work")
    assert str(caught.value).startswith(
        "configs/museum/recipe.yml: competition 'digits': metric 'f2' scores a set of labels an item, and an answer of "
        "kind 'class' has none; set answer.kind to labels, or ")
    assert not (tmp_path / "work").exists()
    (tmp_path / "mine.py").write_text('needs = "class"\ndef metric(y, p):\n    return float((y == p).mean())\n')
    for metric in ("macro_f1", "mine.py"):  # with these it goes on, to data that are not there
        (folder / "recipe.yml").write_text(f"{text}metric: {metric}\n")
        with pytest.raises(DataError, match="data"):
            run_recipe("museum", tmp_path / "data", tmp_path / "work")


def test_the_search_follows_the_metric_of_the_competition_and_says_where_a_run_does_not(tmp_path: Path) -> None:
    file = tmp_path / "competition.yml"
    file.write_text(competition_text(competition_of(metric={"name": "macro_f1"}).config))
    recipe = RecipeConfig(name="r", competition=str(file), folds=FoldsConfig(kind="stratified", count=2), runs=["one"])
    run = tiny_config("one").model_copy(update={"competition": str(file), "metric": "accuracy"})
    said: list[str] = []
    assert search_metric(tmp_path, recipe, [run], said.append) == "macro_f1"
    assert len(said) == 1 and said[0].endswith("is scored by 'macro_f1'; it is followed, and not 'accuracy', by which "
                                               "the first run chooses its epochs")
    assert search_metric(tmp_path, recipe.model_copy(update={"metric": "accuracy"}), [run], said.append) == "accuracy"
    alike = run.model_copy(update={"metric": "macro_f1"})
    assert search_metric(tmp_path, recipe, [alike], said.append) == "macro_f1" and len(said) == 1
    file.write_text(competition_text(competition_of(metric={"name": "f1"}).config))  # of several labels an item
    assert search_metric(tmp_path, recipe, [run], said.append) == "micro_f1"
    assert "is scored by 'f1'; of such runs 'micro_f1' is followed, and not 'accuracy'" in said[-1]


def test_weights_that_a_later_run_lacks_are_told_before_the_first_one_trains(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path)
    folder = tmp_path / "configs" / "museum"
    (folder / "recipe.yml").write_text(
        "name: other\ncompetition: digits\nfolds: {kind: stratified, count: 3}\nruns: [one, two]\nmetric: macro_f1\n")
    (folder / "one.yml").write_text(F2_RUN)
    (folder / "two.yml").write_text(F2_RUN.replace("run: one", "run: two").replace(
        "arch: test_resnet", "pretrained: nowhere.pth, arch: test_resnet"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match="net.pretrained: there is no file nowhere.pth"):
        run_recipe("museum", tmp_path / "data", tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_step_that_was_stopped_with_ctrl_c_stops_the_recipe(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text("raise SystemExit(130)\n")
    with pytest.raises(KeyboardInterrupt):
        run_step([str(script)])
    script.write_text("raise SystemExit(2)\n")
    with pytest.raises(RecipeError, match="step.py -x ended with exit code 2; see above"):
        run_step([str(script), "-x"])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (", group_colum: a", "unknown key 'folds.group_colum': did you mean 'group_column'"),
    ],
)
def test_each_fault_of_a_recipe_is_named(tmp_path: Path, extra: str, message: str) -> None:
    write_recipe(tmp_path, extra=extra)
    with pytest.raises(ConfigError) as caught:
        read_recipe(tmp_path / "configs", "museum")
    assert message in str(caught.value) and "recipe.yml" in str(caught.value)


def test_groups_have_one_source() -> None:
    with pytest.raises(ValueError, match="groups come from group_column or from groups; give one of them"):
        FoldsConfig(kind="multilabel_grouped", count=2, group_column="subject", groups="groups.csv")


def test_every_drawing_of_the_small_imet_has_its_group() -> None:
    path = PROJECT / "configs" / "imet-mini" / "groups.csv"
    table = pd.read_csv(path, dtype=str)
    assert table.columns.tolist() == ["id", "group"] and len(table) == table["id"].nunique() == 2724
    assert table["group"].nunique() == 1007 and table["group"].value_counts().max() == 30


def test_folds_keep_the_groups_of_a_competition_file(tmp_path: Path, capsys) -> None:
    rows = [f"i{row},{row % 2},p{row // 3}" for row in range(24)]
    table = "\n".join(["id,label,patient", *rows])
    write_files(tmp_path, {"train.csv": table}, *(f"train/i{n}.png" for n in range(24)))
    (tmp_path / "competition.yml").write_text(competition_text(competition_of(train__group="{patient}").config))
    folding = ["folds", "--data", str(tmp_path), "--competition", str(tmp_path / "competition.yml"), "--count", "2"]
    assert run_app(foldpack, [*folding, "--kind", "stratified", "--out", str(tmp_path / "folds.csv")]) == 0
    table = pd.read_csv(tmp_path / "folds.csv", dtype=str)
    assert (table.groupby("group")["fold"].nunique() == 1).all() and table["group"].nunique() == 8
    assert "stratified_grouped\n" in capsys.readouterr().out
