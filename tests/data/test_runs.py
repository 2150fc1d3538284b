"""`runs/<run>/`: what is written reads back, and a folder that is unfinished or was changed is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from view_arrays import oof_array, rows_of_array

from foldpack.data.items import whole_images
from foldpack.data.runs import (
    FoldMeta,
    RunMeta,
    append_log,
    checkpoint_path,
    read_array,
    read_meta,
    read_run,
    write_array,
    write_meta,
    write_oof,
    write_oof_rows,
)
from foldpack.errors import DataError

IDS = ["007", "NA", "a,b"]
LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
TARGETS = np.array([3, 0, 1])


OOF = "oof/view1/column.logits.npy"


def write_run(folder: Path, logits: np.ndarray = LOGITS, answer: list[str] | None = None, **changes: object) -> Path:
    folder.mkdir()
    write_oof_rows(folder / "oof.csv", IDS, np.array([0, 1, 0]), answer)
    oof = write_oof(folder / "oof", rows_of_array(logits), str(logits.dtype))
    if changes.get("version") == 1:
        shutil.rmtree(folder / "oof")
        oof = write_array(folder / "oof.npy", logits)
    targets = write_array(folder / "targets.npy", TARGETS)
    data: dict = {
        "run": "one", "competition": "digits", "task": "multiclass", "classes": ["a", "b", "c", "d"],
        "prior": [0.25, 0.25, 0.25, 0.25], "size": 32, "views": ["identity", "hflip"], "metric": "accuracy",
        "score": 0.5, "folds": [FoldMeta(fold=0, items=2, score=0.5, epoch=1, sha256="0" * 64)],
        "seconds_per_image": 0.01, "config_sha256": "1" * 64, "folds_sha256": "2" * 64, "oof_sha256": oof,
        "targets_sha256": targets, "versions": {"torch": "2"}}
    write_meta(folder, RunMeta(**{**data, **changes}))
    return folder


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_run_reads_back_as_it_was_written(tmp_path: Path, dtype: str) -> None:
    run = read_run(write_run(tmp_path / "one", LOGITS.astype(dtype)))
    assert run.ids == IDS and run.fold.tolist() == [0, 1, 0] and run.fold.dtype == np.int64
    columns = [view.columns["logits"] for view in run.views()]
    assert all(isinstance(column, np.memmap) and column.dtype == dtype for column in columns)
    assert (oof_array(run) == LOGITS.astype(dtype)).all() and (run.targets == TARGETS).all()
    assert run.meta.views == ["identity", "hflip"] and run.meta.folds[0].epoch == 1 and run.meta.version == 2


@pytest.mark.parametrize(("task", "column"), [("multiclass", "logits"), ("regress", "value"), ("embed", "vector")])
def test_a_run_of_version_1_is_read(tmp_path: Path, task: str, column: str) -> None:
    """All views in one array, whose name was the same for every task."""
    embed = {"embed": {"dim": 4}} if task == "embed" else {}
    run = read_run(write_run(tmp_path / "one", version=1, task=task, **embed))
    assert (oof_array(run) == LOGITS).all() and run.meta.version == 1
    [first, _] = run.views()
    assert list(first.columns) == [column] and isinstance(first.columns[column], np.memmap)
    (tmp_path / "one" / "oof.npy").unlink()
    with pytest.raises(DataError, match="oof: missing or changed since the run was finished; train the run again"):
        read_run(tmp_path / "one")


def test_images_that_are_answered_together_read_back(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path / "one")).groups is None
    groups = read_run(write_run(tmp_path / "two", answer=["007", "NA", "007"])).groups
    assert groups is not None and groups.names == ["007", "NA"] and groups.order.tolist() == [0, 2, 1]


def test_a_memory_map_cannot_be_written_to(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "one"))
    with pytest.raises(ValueError):
        run.views()[0].columns["logits"][0, 0] = 1


def test_no_run_and_an_unfinished_run_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such run; train it with `foldpack train`"):
        read_run(tmp_path / "one")
    (write_run(tmp_path / "one") / "meta.json").unlink()
    with pytest.raises(DataError, match=r"not finished \(no meta.json\); `foldpack train` takes it up where"):
        read_run(tmp_path / "one")


@pytest.mark.parametrize("name", [OOF, "targets.npy"])
def test_a_changed_or_missing_array_is_refused(tmp_path: Path, name: str) -> None:
    path = write_run(tmp_path / "one") / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = f"{name.partition('/')[0]}: missing or changed since the run was finished; train the run again"
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / "one")
    path.unlink()
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "oof.csv: cannot read the rows"),
        ("", "oof.csv: cannot read the rows"),
        ("id\n1\n", "oof.csv: cannot read the rows"),
        ("id,fold\n1,x\n", "oof.csv: cannot read the rows"),
        ("id,fold\n1,0\n", r"oof: views of shapes \[\(3, 4\), \(3, 4\)\] do not fit 2 views, 1 rows and 4 numbers"),
    ],
)
def test_rows_that_are_gone_or_do_not_fit(tmp_path: Path, text: str | None, message: str) -> None:
    path = write_run(tmp_path / "one") / "oof.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "one")


def test_arrays_that_do_not_fit_their_meta(tmp_path: Path) -> None:
    write_run(tmp_path / "one", views=["identity"])
    with pytest.raises(DataError, match=r"shapes \[\(3, 4\), \(3, 4\)\] do not fit 1 views, 3 rows and 4 numbers each"):
        read_run(tmp_path / "one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version: input should be 1 or 2, got 3"),
        ({"scor": 1.0}, "unknown key 'scor': did you mean 'score'?"),
        ({"folds": [{"fold": 0, "items": 1, "score": 1.0, "epoch": 0, "sha256": "x"}]}, "folds.0.sha256: "),
        ({"task": "regression"}, "task: input should be 'multiclass', 'multilabel', 'regress' or 'embed', got "
         "'regression'"),
    ],
)
def test_a_meta_of_another_kind_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = write_run(tmp_path / "one") / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError) as caught:
        read_meta(tmp_path / "one")
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_a_meta_that_is_no_json(tmp_path: Path) -> None:
    (write_run(tmp_path / "one") / "meta.json").write_text("{")
    with pytest.raises(DataError, match="meta.json: cannot read it .*; train the run again"):
        read_meta(tmp_path / "one")


def test_nothing_pickled_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="a.npy: cannot read the array"):
        read_array(tmp_path / "a.npy")


def test_the_log_grows_by_whole_lines(tmp_path: Path) -> None:
    append_log(tmp_path, {"epoch": 0})
    append_log(tmp_path, {"epoch": 1})
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [0, 1]


def test_where_the_weights_lie(tmp_path: Path) -> None:
    assert checkpoint_path(tmp_path, 12) == tmp_path / "fold12.safetensors"


def test_ids_need_as_many_paths() -> None:
    with pytest.raises(DataError, match="2 ids for 1 image paths; each id needs one path"):
        whole_images(["a", "b"], [Path("a.png")])
