"""Members that are worse than chance are pointed out, loudly: on the terminal, in the text, the JSON and the HTML."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_search_runs import write_run

from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.cells import dense_cells
from foldpack.search.cells.compact import compact_cells
from foldpack.search.checks.chance import check_chance, relation
from foldpack.search.decide.decision import LabelRule
from foldpack.search.files.arrays import ArraySearch, search_arrays
from foldpack.search.find import SearchOptions
from foldpack.search.runs import RunSearch, search_runs

ROOT = Path(__file__).resolve().parents[2]
N = 400
SHUFFLED = np.random.default_rng(0).permutation(N)
FOLD_ORDER = np.argsort(np.arange(N) % 4, kind="stable")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def binary(rng):
    y = rng.random(N) < 0.3
    return y.astype(int), lambda: sigmoid(1.5 * y - 1.5 + rng.normal(0, 1, N))


def single(rng, classes=5):
    y = rng.choice(classes, N, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    return y, lambda: softmax(1.5 * np.eye(classes)[y] + rng.normal(0, 1, (N, classes)))


def several(rng, classes=6):
    y = rng.random((N, classes)) < np.linspace(0.05, 0.4, classes)
    return y.astype(int), lambda: sigmoid(2 * y - 2 + rng.normal(0, 1, (N, classes)))


def values(rng):
    y = rng.normal(50, 10, N)
    return y, lambda: y + rng.normal(0, 8, N)


def grades(rng):
    y = rng.integers(0, 4, N)
    return y, lambda: y + rng.normal(0, 1, N)


KINDS = {
    "auc": binary, "log_loss": binary, "average_precision": binary, "f2": several, "accuracy": single,
    "macro_f1": single, "map3": single, "rmse": values, "qwk": grades,
}
OF_CLASSES = [name for name, kind in KINDS.items() if kind is single]


def searched(folder, members, y, metric, folds=None, **options):
    """The numbers of the report of a search of files."""
    for name, table in {**members, "y": y}.items():
        np.save(folder / f"{name}.npy", table)
    if folds is not None:
        np.save(folder / "folds.npy", folds)
    asked = ArraySearch([folder / f"{name}.npy" for name in members], folder / "y.npy", find_metric(metric),
                        folds=None if folds is None else folder / "folds.npy", **options)
    return search_arrays(folder / "best.yml", asked)[1]


def warned(folder, damaged, metric, seed=3, folds=None):
    """The warning about the one damaged of three members."""
    y, draw = KINDS[metric](np.random.default_rng(seed))
    numbers = searched(folder, {"good": draw(), "bad": damaged(draw()), "other": draw()}, y, metric, folds)
    [warning] = numbers["warnings"]
    assert warning.startswith(f"bad: {metric} ")
    assert f" alone, one constant guess for all items scores {numbers['scores']['constant']:.4f}" in warning
    return warning


@pytest.mark.parametrize("metric", KINDS)
def test_sound_members_are_not_doubted(tmp_path, metric):
    y, draw = KINDS[metric](np.random.default_rng(0))
    assert searched(tmp_path, {"a": draw(), "b": draw()}, y, metric)["warnings"] == []


@pytest.mark.parametrize("metric", KINDS)
def test_shuffled_rows_look_unrelated(tmp_path, metric):
    said = warned(tmp_path, lambda p: p[SHUFFLED], metric)
    assert said.endswith("it looks unrelated to the labels, as noise does, or rows in another order; match its rows to "
                         "the labels, or leave it out")


def made_up(rng, p, metric):
    return softmax(rng.normal(size=p.shape)) if metric in OF_CLASSES else rng.random(p.shape)


@pytest.mark.parametrize("metric", KINDS)
def test_noise_looks_unrelated(tmp_path, metric):
    rng = np.random.default_rng(8)
    said = warned(tmp_path, lambda p: made_up(rng, p, metric), metric)
    assert "it looks unrelated to the labels" in said


@pytest.mark.parametrize("metric", KINDS)
def test_an_inverted_member_is_told_what_it_would_score(tmp_path, metric):
    y, draw = KINDS[metric](np.random.default_rng(3))
    rest = draw(), draw()
    sound = rest[1]
    turned = 100 - sound if metric in ("rmse", "qwk") else 1 - sound
    if metric in OF_CLASSES:
        turned = turned / turned.sum(axis=1, keepdims=True)
    numbers = searched(tmp_path, {"good": rest[0], "bad": turned}, y, metric)
    [warning] = numbers["warnings"]
    would = float(warning.split("would score ")[1].split(";")[0])
    alone = searched(tmp_path, {"good": rest[0], "bad": sound}, y, metric)["members"][1]["alone"]
    assert "it looks inverted: " in warning
    if metric == "rmse":  # turned round at its own middle, which is not 50
        assert would < numbers["scores"]["constant"]
    else:
        assert would == pytest.approx(alone, abs=2e-4)


def test_inverted_logits_are_told(tmp_path):
    said = warned(tmp_path, lambda p: softmax(-np.log(p)), "accuracy")
    assert "it looks inverted: " in said


@pytest.mark.parametrize("metric", ["accuracy", "map3", "f2"])
def test_columns_in_another_order_are_told_with_the_order(tmp_path, metric):
    moved = {"f2": [5, 0, 1, 2, 3, 4]}.get(metric, [1, 2, 3, 4, 0])
    back = np.argsort(moved).tolist()
    said = warned(tmp_path, lambda p: p[:, moved], metric)
    assert f"its columns look misordered: in the order {back} they would score " in said


def test_columns_turned_round_are_told(tmp_path):
    said = warned(tmp_path, lambda p: p[:, ::-1], "accuracy")
    assert "its columns look misordered: in the order [4, 3, 2, 1, 0] they would score " in said


@pytest.mark.parametrize("metric", ["auc", "accuracy", "rmse"])
def test_rows_backwards_or_fold_by_fold_are_told(tmp_path, metric):
    said = warned(tmp_path, lambda p: p[::-1], metric)
    assert "its rows look reversed: turned round they would score " in said
    said = warned(tmp_path, lambda p: p[FOLD_ORDER], metric, folds=np.arange(N) % 4)
    assert "its rows look joined fold by fold: in the order of the labels they would score " in said


def test_a_constant_member_is_told(tmp_path):
    said = warned(tmp_path, lambda p: np.full_like(p, 0.5), "auc")
    assert said.endswith("0.5000: it says the same of every item; leave it out, or mend its file")
    assert "bad: auc 0.5000 alone, one constant guess for all items scores 0.5000" in said


def test_numbers_that_are_no_probabilities_are_told_where_a_constant_is_better(tmp_path):
    said = warned(tmp_path, lambda p: p**8, "log_loss")
    assert "it knows something of the labels, but a constant is better; its numbers may be badly calibrated" in said


def test_rare_classes_alone_do_not_make_a_warning(tmp_path):
    """Where the largest class is always the likeliest, accuracy is that of a constant, and not worse."""
    rng = np.random.default_rng(2)
    y = (rng.random(N) < 0.05).astype(int)
    p = sigmoid(1.5 * y - 3 + rng.normal(0, 0.3, N))
    table = np.column_stack([1 - p, p])
    assert table.argmax(axis=1).max() == 0
    assert searched(tmp_path, {"a": table, "b": table**1.1}, y, "accuracy")["warnings"] == []


def test_items_in_no_class_do_not_hide_noise(tmp_path):
    rng = np.random.default_rng(4)
    y, draw = single(rng)
    y = np.where(rng.random(N) < 0.3, -1, y)
    options = SearchOptions(rule=LabelRule(new_class=True), spaces=["probability"])
    members = {"good": draw(), "bad": draw()[SHUFFLED]}
    [warning] = searched(tmp_path, members, y, "map3", options=options)["warnings"]
    assert warning.startswith("bad: map3 ") and "it looks unrelated to the labels" in warning


def test_a_metric_of_ones_own_that_fails_for_a_constant_is_no_obstacle(tmp_path):
    (tmp_path / "own.py").write_text(
        "from scipy.stats import pearsonr\n\n"
        "def metric(y, p):\n    assert p.std() > 1e-3\n    return float(pearsonr(y, p)[0])\n")
    y, draw = binary(np.random.default_rng(3))
    numbers = searched(tmp_path, {"good": draw(), "bad": draw()[SHUFFLED]}, y, str(tmp_path / "own.py"))
    [warning] = numbers["warnings"]
    assert numbers["scores"]["constant"] is None and "it looks unrelated to the labels" in warning


def test_the_relation_is_that_of_shuffled_rows():
    """The mean and the variance of the statistic are those over permutations."""
    rng = np.random.default_rng(6)
    y, draw = single(rng)
    truth, table = np.eye(5)[y], draw()
    shuffled = [relation(table[rng.permutation(N)], truth) for _ in range(2000)]
    assert np.mean(shuffled) == pytest.approx(0, abs=0.07) and np.std(shuffled) == pytest.approx(1, abs=0.05)
    assert relation(table, truth) > 10
    wide = np.random.default_rng(7).random((40, 90))
    tall = [relation(wide[:, :k], np.eye(90)[:40, :k]) for k in (39, 90)]  # either side of a square
    assert np.isfinite(tall).all()


def test_labels_that_are_all_alike_tell_nothing():
    p = np.random.default_rng(3).random((2, 50)).astype(np.float32)
    cells = dense_cells(p, np.zeros(50, bool))
    check = check_chance(cells, ["a", "b"], get_metric("auc"), LabelRule(), np.zeros(50, int))
    assert check.warnings == [] and check.constant is None


def test_of_very_many_cells_a_part_is_looked_at():
    rng = np.random.default_rng(9)
    y = rng.integers(0, 1500, 1000)
    good = softmax(8 * np.eye(1500, dtype=np.float32)[y] + rng.normal(0, 1, (1000, 1500)).astype(np.float32))
    cells = dense_cells(np.stack([good, good[::-1]]), y)
    check = check_chance(cells, ["good", "bad"], get_metric("accuracy"), LabelRule(), np.arange(1000) % 3)
    [warning] = check.warnings
    assert " (on 666 of 1,000 items): its rows look reversed: turned round they would score " in warning


def test_runs_are_held_against_chance_too_also_from_a_compact_store(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    classes, targets = [f"c{k}" for k in range(20)], rng.integers(0, 20, 160)
    for k, (name, sharpness) in enumerate((("a", 2.0), ("b", 2.5), ("noise", 0.0))):
        write_run(tmp_path, name, "multiclass", targets, sharpness, k, classes)
    folders = [tmp_path / name for name in ("a", "b", "noise")]
    for store in (1 << 28, 3 * 4 * 160 * 12):
        small = partial(compact_cells, store_bytes=store)
        monkeypatch.setattr("foldpack.search.run_rows.compact_cells", small)
        _, numbers = search_runs("best", folders, RunSearch())
        [warning] = numbers["warnings"]
        assert warning.startswith("noise: accuracy 0.0") and "it looks unrelated to the labels" in warning


def test_the_warning_is_on_the_terminal_and_in_every_report(tmp_path):
    y, draw = binary(np.random.default_rng(3))
    for name, table in {"good": draw(), "bad": 1 - draw(), "y": y}.items():
        np.save(tmp_path / f"{name}.npy", table)
    done = subprocess.run(
        [sys.executable, str(ROOT / "ensemble_search.py"), "best", "good.npy", "bad.npy", "--labels", "y.npy",
         "--metric", "auc", "--out", "."], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    [line] = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert line.startswith("warning: bad: auc 0.") and "0.5000: it looks inverted: 1 - p would score 0." in line
    numbers = json.loads((tmp_path / "best.report.json").read_text())
    assert numbers["warnings"] == [line.removeprefix("warning: ")] and numbers["scores"]["constant"] == 0.5
    assert '<p class="warning">Warning: bad: auc 0.' in (tmp_path / "best.report.html").read_text()
