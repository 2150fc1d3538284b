"""A recipe's folds: groups from a column, groups from found pairs; and recipes that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawings import CATEGORIES, KEEP, SIDE, TAGS, Drawings, make_drawings
from PIL import Image

from foldpack.competitions.digits import DIGITS
from foldpack.competitions.image_table import ImageTable, class_names, encode_labels, read_train_table
from foldpack.competitions.imet import IMET
from foldpack.config import ConfigError
from foldpack.data.folds import read_folds
from foldpack.data.items import Items
from foldpack.errors import DataError
from foldpack.recipe import (
    FoldsConfig,
    PairsConfig,
    RecipeConfig,
    RecipeError,
    make_recipe_folds,
    pair_items,
    read_groups,
    read_recipe,
    run_recipe,
    run_script,
)

SUBJECTS = 40
PAIRS = PairsConfig(size=SIDE, incomplete="tag::", keep=KEEP)
PROJECT = Path(__file__).resolve().parents[1]
TINY_RUN = """\
run: {run}
competition: {competition}
metric: f2
net: {{arch: test_resnet, size: 32}}
loss: {{name: bce}}
"""


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    return make_drawings(SUBJECTS, seed=1)


@pytest.fixture(scope="module")
def museum(drawings: Drawings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition laid out as iMet is, with the truth in a column `subject`. Nobody changes it."""
    folder = tmp_path_factory.mktemp("museum")
    (folder / "train").mkdir()
    titles = [f"category::{k}" for k in range(CATEGORIES)] + [f"tag::{k}" for k in range(TAGS)]
    pd.DataFrame({"attribute_id": range(len(titles)), "attribute_name": titles}).to_csv(
        folder / "labels.csv", index=False)
    ids = [f"d{row}" for row in range(len(drawings.images))]
    for item, image in zip(ids, drawings.images, strict=True):
        Image.fromarray(image).save(folder / "train" / f"{item}.png")
    cells = [label_cell(row) for row in drawings.labels]
    pd.DataFrame({"id": ids, "attribute_ids": cells, "subject": drawings.subject}).to_csv(
        folder / "train.csv", index=False)
    return folder


def label_cell(row: np.ndarray) -> str:
    return " ".join(str(k) for k in np.flatnonzero(row))


def folds_of(museum: Path, folder: Path, folds: FoldsConfig) -> tuple[pd.DataFrame, dict, list[str]]:
    """folds.csv, what its note says it was made by, and what was printed."""
    said: list[str] = []
    recipe = RecipeConfig(name="museum", competition="imet", folds=folds, runs=["-"])
    make_recipe_folds(recipe, museum, folder / "folds.csv", said.append)
    return read_folds(folder / "folds.csv"), json.loads((folder / "folds.json").read_text())["made_by"], said


def test_folds_keep_the_groups_of_a_column_whole(museum: Path, drawings: Drawings, tmp_path: Path) -> None:
    folds = FoldsConfig(kind="multilabel_grouped", count=2, group_column="subject")
    table, made_by, said = folds_of(museum, tmp_path, folds)
    assert table.columns.tolist() == ["id", "fold", "attribute_ids", "group"]
    assert table["group"].tolist() == [str(subject) for subject in drawings.subject]
    assert table.groupby("group")["fold"].nunique().max() == 1
    assert table["attribute_ids"].tolist() == [label_cell(row) for row in drawings.labels]
    assert made_by == {"recipe": "museum", "kind": "multilabel_grouped", "count": 2, "seed": 0,
                       "group_column": "subject"}
    assert len(said) == 1 and said[0].endswith("items, multilabel_grouped")


def test_folds_keep_found_pairs_whole_and_share_their_labels(
        museum: Path, drawings: Drawings, tmp_path: Path) -> None:
    folds = FoldsConfig(kind="multilabel_grouped", count=2, pairs=PAIRS.model_copy(update={"share_labels": True}))
    table, made_by, said = folds_of(museum, tmp_path, folds)
    assert (table.groupby(drawings.subject)["fold"].nunique() == 1).mean() >= 0.9
    assert table.groupby("group")["fold"].nunique().max() == 1
    given, shared = drawings.labels, encode_labels(IMET, table["attribute_ids"].tolist(),
                                                   [str(k) for k in range(CATEGORIES + TAGS)])
    assert (shared >= given).all() and shared.sum() > given.sum()
    assert (shared[:, :CATEGORIES] == given[:, :CATEGORIES]).all()
    assert made_by["pairs"] == {"size": SIDE, "incomplete": "tag::", "keep": KEEP, "merge": 0.1, "share_labels": True}
    assert said[0].startswith("pairs: odd_sets 0, in_pairs ") and "tag_agreement_chance" in said[0]


def test_labels_are_shared_only_on_request(museum: Path, drawings: Drawings, tmp_path: Path) -> None:
    table, _, _ = folds_of(museum, tmp_path, FoldsConfig(kind="multilabel_grouped", count=2, pairs=PAIRS))
    assert table["attribute_ids"].tolist() == [label_cell(row) for row in drawings.labels]
    assert "group" in table


def pair(museum: Path, layout: ImageTable = IMET, items: Items | None = None, **changes: object) -> None:
    known, labels = read_train_table(IMET, museum)
    targets = encode_labels(IMET, labels, class_names(IMET, museum, labels))
    pair_items(layout, museum, items or known, targets, PAIRS.model_copy(update=changes), print)


def test_pairs_are_for_multilabel_competitions(museum: Path) -> None:
    with pytest.raises(DataError, match="competition 'digits' is multiclass; pairs are found among multi-label items"):
        pair(museum, DIGITS)


@pytest.mark.parametrize(("incomplete", "count"), [("tags::", 0), ("", CATEGORIES + TAGS)])
def test_some_labels_must_be_complete_and_some_not(museum: Path, incomplete: str, count: int) -> None:
    with pytest.raises(DataError, match=f"pairs.incomplete '{incomplete}': it fits {count} of {CATEGORIES + TAGS} "
                                        "classes; some must be complete and some not"):
        pair(museum, incomplete=incomplete)


def test_broken_images_are_not_paired(museum: Path, tmp_path: Path) -> None:
    items, _ = read_train_table(IMET, museum)
    broken = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in broken:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a.png: cannot decode the image .*; 2 training images are broken"):
        pair(museum, items=Items(items.ids, broken + items.paths[2:]))


def test_groups_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,artist\na,007\nb,\n")
    assert read_groups(tmp_path / "train.csv", "artist") == ["007", ""]


def test_a_missing_group_column_is_named(museum: Path) -> None:
    with pytest.raises(DataError, match=r"train.csv: group column 'artist' is missing, got: id, attribute_ids, subj"):
        read_groups(museum / "train.csv", "artist")


def write_recipe(project: Path, run: str = "one", competition: str = "imet", extra: str = "") -> None:
    folder = project / "configs" / "museum"
    folder.mkdir(parents=True)
    (folder / "recipe.yml").write_text(
        f"name: museum\ncompetition: imet\nfolds: {{kind: multilabel, count: 3{extra}}}\nruns: [one]\n")
    (folder / "one.yml").write_text(TINY_RUN.format(run=run, competition=competition))


def test_a_recipe_comes_with_its_runs(tmp_path: Path) -> None:
    write_recipe(tmp_path, extra=", pairs: {size: 64, incomplete: 'tag::', keep: 0.85}")
    recipe, configs = read_recipe(tmp_path, "museum")
    assert recipe.folds.pairs == PAIRS and recipe.hours == 9.0 and recipe.slug is None
    assert [config.run for config in configs] == ["one"]


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(PROJECT.glob("configs/*/recipe.yml"))])
def test_the_recipes_of_the_project_are_sound(name: str) -> None:
    recipe, configs = read_recipe(PROJECT, name)
    assert len(configs) == len(recipe.runs)


def test_an_unknown_recipe_is_met_with_the_nearest(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    with pytest.raises(ConfigError, match="unknown recipe 'musem': did you mean 'museum'"):
        read_recipe(tmp_path, "musem")


@pytest.mark.parametrize(("run", "competition"), [("one", "digits"), ("two", "imet")])
def test_a_run_must_belong_to_the_recipe(tmp_path: Path, run: str, competition: str) -> None:
    write_recipe(tmp_path, run, competition)
    with pytest.raises(ConfigError, match=f"one.yml: run '{run}' of competition '{competition}'; "
                                          "expected run 'one' of 'imet'"):
        read_recipe(tmp_path, "museum")


AUC_RUN = TINY_RUN.replace("f2", "auc").replace("bce", "cross_entropy").format(run="one", competition="digits")


def test_a_metric_that_no_kernel_can_be_scored_by_is_refused_before_anything_is_trained(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path)
    folder = tmp_path / "configs" / "museum"
    text = "name: other\ncompetition: digits\nfolds: {kind: stratified, count: 3}\nruns: [one]\n"
    (folder / "recipe.yml").write_text(text)
    (folder / "one.yml").write_text(AUC_RUN)
    monkeypatch.setattr("foldpack.recipe.project_root", lambda: tmp_path)
    with pytest.raises(ConfigError) as caught:
        run_recipe("museum", tmp_path / "data", tmp_path / "work")
    assert str(caught.value) == (
        f"{folder / 'one.yml'}: metric 'auc' scores probabilities, but a kernel hands in one class an item "
        "(multiclass); allowed: accuracy, macro_f1, map1, recall1; name one of them as `metric` in recipe.yml, for the "
        "search; the runs may keep theirs")
    assert not (tmp_path / "work").exists()
    (folder / "mine.py").write_text('needs = "class"\ndef metric(y, p):\n    return float((y == p).mean())\n')
    for metric in ("macro_f1", "mine.py"):  # with these it goes on, to data that are not there
        (folder / "recipe.yml").write_text(f"{text}metric: {metric}\n")
        with pytest.raises(DataError, match="data"):
            run_recipe("museum", tmp_path / "data", tmp_path / "work")


def test_a_step_that_was_stopped_with_ctrl_c_stops_the_recipe(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text("raise SystemExit(130)\n")
    with pytest.raises(KeyboardInterrupt):
        run_script(script, [], tmp_path)
    script.write_text("raise SystemExit(2)\n")
    with pytest.raises(RecipeError, match="step.py -x ended with exit code 2; see above"):
        run_script(script, ["-x"], tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (", pairs: {size: 64, incomplete: a}", "key 'folds.pairs.keep' is missing"),
        (", pairs: {size: 8, incomplete: a, keep: 0.5}", "folds.pairs.size: input should be greater than or equal to"),
        (", pairs: {size: 64, incomplete: a, keep: 0.5, merg: 0.1}", "unknown key 'folds.pairs.merg': did you mean 'm"),
        (", pairs: {size: 64, incomplete: a, keep: 0.5, merge: 1.0}", "folds.pairs.merge: input should be less than 1"),
        (", group_colum: a", "unknown key 'folds.group_colum': did you mean 'group_column'"),
    ],
)
def test_each_fault_of_a_recipe_is_named(tmp_path: Path, extra: str, message: str) -> None:
    write_recipe(tmp_path, extra=extra)
    with pytest.raises(ConfigError) as caught:
        read_recipe(tmp_path, "museum")
    assert message in str(caught.value) and "recipe.yml" in str(caught.value)


def test_groups_have_one_source() -> None:
    with pytest.raises(ValueError, match="groups come from group_column or from pairs; give one of them"):
        FoldsConfig(kind="multilabel_grouped", count=2, group_column="subject", pairs=PAIRS)
