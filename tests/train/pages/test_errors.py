"""`foldpack errors`: what is wrong out of fold, counted by hand, and the page of every task."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from multilabel_place import make_place
from small_house import tiny_config

from foldpack.commands.main import app as foldpack
from foldpack.commands.recipe import make_recipe_folds
from foldpack.commands.run_app import run_app
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_run, write_oof_rows
from foldpack.search.run_rows import run_reader_of
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.train.pages import errors as module
from foldpack.train.pages.errors import heat_rows, read_predicted, value_findings
from foldpack.train.pages.mistakes import (
    Mistake,
    class_rows,
    confused_pairs,
    confusion,
    label_rows,
    value_rows,
    worst_of_classes,
    worst_of_labels,
    worst_values,
)
from foldpack.train.pages.neighbours import Neighbours
from foldpack.train.run import train_run

NAMES = ["a", "b", "c"]
TRUTH = np.array([0, 0, 0, 1, 1, 2])
PROBS = np.array([[.8, .1, .1], [.3, .6, .1], [.1, .2, .7], [.5, .4, .1], [.2, .8, .0], [.0, .1, .9]])


def test_classes_are_counted() -> None:
    table = confusion(TRUTH, PROBS.argmax(axis=1), 3)
    assert table.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1]]
    assert confused_pairs(table) == [(0, 1, 1), (0, 2, 1), (1, 0, 1)]
    assert class_rows(TRUTH, PROBS.argmax(axis=1), NAMES) == [
        ["a", "3", "0.33", "0.50", "b (1)"], ["b", "2", "0.50", "0.50", "a (1)"], ["c", "1", "1.00", "0.50", ""]]
    assert heat_rows(NAMES, table)[0] == ("a", [(1, 0.0), (1, 0.333), (1, 0.333)])


def test_the_worst_of_a_class_has_the_lowest_probability_of_the_truth() -> None:
    assert worst_of_classes(TRUTH, PROBS, 1) == [[Mistake(2, 0)], [Mistake(3, 1)]]
    assert worst_of_classes(TRUTH, PROBS, 9)[0] == [Mistake(2, 0), Mistake(1, 0)]
    assert worst_of_classes(np.array([0]), np.array([[0.9, 0.1]]), 3) == []


def test_labels_are_counted_and_both_kinds_of_mistakes_shown() -> None:
    truth = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [0, 0]], dtype=bool)
    probs = np.array([[.1, .9], [.2, .1], [.9, .8], [.7, .2], [.8, .1]])
    assert label_rows(truth, probs > 0.5, ["x", "y"]) == [
        ["x", "3", "1", "2", "2", "0.33", "0.33"], ["y", "1", "1", "0", "1", "1.00", "0.50"]]
    assert worst_of_labels(truth, probs > 0.5, probs, 2) == [
        [Mistake(0, 0, "missed"), Mistake(4, 0, "false alarm")], [Mistake(0, 1, "false alarm")]]
    assert [len(group) for group in worst_of_labels(truth, probs > 0.5, probs, 3)] == [3, 1]
    assert worst_of_labels(truth, truth, truth.astype(float), 3) == []


def test_values_are_measured() -> None:
    truth, values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]), np.array([[1.5, 4.0], [2.0, 5.0], [1.0, 5.0]])
    rows = value_rows(truth, values, ["p", "q"])
    assert rows[0][:4] == ["p", f"{2.5 / 3:.4g}", f"{np.sqrt(4.25 / 3):.4g}", "-0.5"] and rows[1][4] == ""
    assert rows[0][4] == f"{np.corrcoef([1, 2, 3], [1.5, 2, 1])[0, 1]:.3f}"
    assert worst_values(truth, values, 2) == [[Mistake(2, 0), Mistake(0, 0)], [Mistake(0, 1), Mistake(1, 1)]]


# ---- runs of every task ----

NET = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
TASKS = {"digits": {}, "digits-values": {"task": "regress", "loss": {"name": "mse"}, "metric": "rmse"},
         "digits-retrieval": {"task": "embed", "embed": {"dim": 8}, "metric": "map5",
                              "loss": {"name": "arcface", "scale": 16.0}, "views": ["identity"]}}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A competition and a run `tiny` of each task. Read only."""
    found = {}
    for name, changes in TASKS.items():
        root = found[name] = tmp_path_factory.mktemp(name)
        write_digits(root / "data", root / "answers.csv", 100, name=name)
        folds = FoldsConfig(kind="shuffled" if name == "digits-values" else "stratified", count=2)
        make_recipe_folds(RecipeConfig(name="small", competition=name, folds=folds, runs=["-"]), root / "data",
                          root / "folds.csv", print)
        config = tiny_config("tiny", competition=name, net=NET, epochs=2, **changes)
        train_run(config, root / "data", root / "folds.csv", root / "runs", print)
    found["imet"] = make_place(tmp_path_factory.mktemp("imet"))
    (found["imet"] / "runs/first").rename(found["imet"] / "runs/tiny")
    return found


def command(place: Path, out: Path, *more: str) -> int:
    arguments = ["--data", str(place / "data"), "--runs", str(place / "runs"), "--out", str(out), *more]
    return run_app(foldpack, ["errors", "tiny", *arguments])


@pytest.mark.parametrize("name", [*TASKS, "imet"])
def test_the_page_of_every_task(places: dict[str, Path], tmp_path: Path, capsys, name: str) -> None:
    assert command(places[name], tmp_path / "e.html", "--items", "3", "--most", "10") == 0
    said, page = capsys.readouterr().out, (tmp_path / "e.html").read_text()
    assert f"page {tmp_path / 'e.html'}" in said and "out of fold" in page and len(page) < 5_000_000
    queries = page.count('<div class="query">')
    pictures = len(re.findall(r'src="data:image/jpeg;base64,[^"]+"', page))
    if name == "digits-retrieval":
        assert 0 < queries <= 10 and pictures == queries * 4  # each with its three nearest
    else:
        assert queries == 0 and pictures == (3 if name == "digits-values" else 10 if name == "digits" else pictures) > 0
    words = {"digits": "What is taken for what", "digits-values": "prediction out of fold", "imet": "false alarm",
             "digits-retrieval": "nearest:"}
    assert words[name] in page and not re.search(r"""(src|href)=["']?https?:""", page)


def test_the_worst_digit_stands_there_with_truth_and_prediction(places: dict[str, Path], tmp_path: Path) -> None:
    assert command(places["digits"], tmp_path / "e.html", "--items", "1") == 0
    page, run = (tmp_path / "e.html").read_text(), read_run(places["digits"] / "runs/tiny")
    probs, table = np.asarray(run_reader_of(run)(slice(None))), pd.read_csv(places["digits"] / "folds.csv", dtype=str)
    truth = table["label"].astype(int).to_numpy()
    own, best = probs[np.arange(len(truth)), truth], probs.argmax(axis=1)
    for k in np.unique(truth[best != truth]):
        row = min(np.flatnonzero((truth == k) & (best != k)), key=lambda row: own[row])
        words = f"<b>truth: {k} {own[row]:.3f}</b><b>predicted: {best[row]} {probs[row, best[row]]:.3f}</b>"
        assert f"{words}{run.ids[row]}, fold {run.fold[row]}" in page


def test_neighbours_are_the_run_s_own_images_of_other_folds(places: dict[str, Path]) -> None:
    said = read_predicted(places["digits-retrieval"] / "runs/tiny", places["digits-retrieval"] / "data")
    near = Neighbours(said.run, said.labelled.targets)
    assert near.note == ""
    for row in range(0, len(said.run.ids), 7):
        found = near.of(row)
        assert [cosine for _, _, cosine in found] == sorted((cosine for _, _, cosine in found), reverse=True)
        for other, identity, _ in found:
            assert other is not None and said.run.fold[other] != said.run.fold[row]
            assert said.run.targets[other] == identity


def test_a_run_of_some_folds_has_neighbours_without_pictures(places: dict[str, Path], tmp_path: Path) -> None:
    place = places["digits-retrieval"]
    changes = {"competition": "digits-retrieval", "net": NET, "epochs": 1, "folds": [0], **TASKS["digits-retrieval"]}
    config = tiny_config("tiny", **changes)
    train_run(config, place / "data", place / "folds.csv", tmp_path / "runs", print)
    run = read_run(tmp_path / "runs/tiny")
    near = Neighbours(run, np.asarray(run.targets))
    assert near.note.startswith("the gallery of fold 0 has items that this run does not predict")
    assert [other for other, _, _ in near.of(0)] == [None] * 3


def copied(place: Path, folder: Path) -> Path:
    """A place that a test may damage."""
    for name in ("data", "runs"):
        shutil.copytree(place / name, folder / name)
    return folder


def test_grades_have_a_matrix_too(places: dict[str, Path], tmp_path: Path) -> None:
    place = copied(places["digits-values"], tmp_path)
    path = place / "runs/tiny/meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metric": "qwk"}))
    said = read_predicted(place / "runs/tiny", place / "data")
    found = value_findings(said, 2)
    assert found.matrix is not None and found.matrix[1].sum(axis=1).tolist() == np.bincount(
        said.truth[:, 0].astype(int)).tolist()
    assert command(place, tmp_path / "e.html") == 0
    assert "grades are cut where kappa" in (tmp_path / "e.html").read_text()


def test_of_many_classes_the_most_frequent_mistakes_are_listed(places: dict[str, Path], tmp_path: Path,
                                                               monkeypatch) -> None:
    monkeypatch.setattr(module, "MATRIX_CLASSES", 9)
    assert command(places["digits"], tmp_path / "e.html") == 0
    page, run = (tmp_path / "e.html").read_text(), read_run(places["digits"] / "runs/tiny")
    answer = np.asarray(run_reader_of(run)(slice(None))).argmax(axis=1)
    k, j, count = confused_pairs(confusion(np.asarray(run.targets), answer, 10))[0]
    assert f"<td>{k}</td><td>{j}</td><td>{count}</td>" in page and '<table class="matrix' not in page


def test_images_that_are_answered_together_are_one_item(places: dict[str, Path], tmp_path: Path) -> None:
    place = copied(places["digits"], tmp_path)
    run = read_run(place / "runs/tiny")
    order = np.lexsort((run.fold, np.asarray(run.targets)))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))  # neighbours in it have the same digit, if the second of each pair agrees
    pair, first = rank // 2, {}
    for row in order:
        first.setdefault((pair[row], int(run.targets[row])), f"answer{len(first)}")
    answer = [first[(pair[row], int(run.targets[row]))] for row in range(len(order))]
    write_oof_rows(place / "runs/tiny/oof.csv", run.ids, run.fold, answer)
    assert command(place, tmp_path / "e.html") == 0
    page = (tmp_path / "e.html").read_text()
    assert f"over {len(first)} items" in page and ", 2 images</figcaption>" in page and "answer" in page


def test_images_that_are_gone_are_told_on_the_page(places: dict[str, Path], tmp_path: Path) -> None:
    place = copied(places["digits"], tmp_path)
    images = sorted((place / "data/train").glob("*.png"))
    for path in images:
        path.unlink()
    images[0].write_bytes(b"no image")
    assert command(place, tmp_path / "e.html", "--items", "1") == 0
    page = (tmp_path / "e.html").read_text()
    shown = page.count("<figure>")
    assert shown > 3 and f"{shown} of the pictures below are missing" in page and page.count("no pixels") == shown


def test_bad_input_is_one_line(places: dict[str, Path], tmp_path: Path, capsys) -> None:
    place = copied(places["digits"], tmp_path)
    for damage, words in (
            (lambda: (place / "data").rename(place / "moved"), str(place / "data")),
            (lambda: (place / "moved").rename(place / "data") and (place / "runs/tiny/meta.json").unlink(),
             "the run is not finished (no meta.json); `foldpack train` takes it up where it stopped"),
            (lambda: (place / "runs/tiny").rename(place / "runs/tinny"), "there is no such run: did you mean 'tinny'")):
        damage()
        capsys.readouterr()
        assert command(place, tmp_path / "e.html") == 2
        said = capsys.readouterr().err
        assert words in said and said.startswith("error: ") and said.count("\n") == 1
    assert not (tmp_path / "e.html").exists()


def test_items_that_the_training_table_no_longer_has_are_named(places: dict[str, Path], tmp_path: Path, capsys) -> None:
    place = copied(places["digits"], tmp_path)
    table = pd.read_csv(place / "data/train.csv", dtype=str)
    table[1:].to_csv(place / "data/train.csv", index=False)
    assert command(place, tmp_path / "e.html") == 2
    assert f"oof.csv: id '{table['id'][0]}' is no training item of the competition" in capsys.readouterr().err
