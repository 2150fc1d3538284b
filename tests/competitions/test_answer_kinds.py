"""Competitions whose answers are numbers or ranked lists: what is read from the table, what is a valid submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foldpack.competitions.adapters import get_competition
from foldpack.competitions.digits_source import digits_score, write_digits
from foldpack.errors import DataError

DIGITS_VALUES, DIGITS_RETRIEVAL = get_competition("digits-values"), get_competition("digits-retrieval")


def place(root: Path, train: str, sample: str = "id,label\nx,0\ny,0\n") -> Path:
    root.mkdir(exist_ok=True)
    (root / "train.csv").write_text(train)
    (root / "sample_submission.csv").write_text(sample)
    return root


def test_numbers_are_read_as_numbers(tmp_path: Path) -> None:
    labelled = DIGITS_VALUES.train(place(tmp_path, "id,label\na,1.5\nb,-2e1\nc,0\n"))
    assert labelled.targets.tolist() == [[1.5], [-20.0], [0.0]] and labelled.classes == ["label"]
    assert labelled.labels == {"label": ["1.5", "-2e1", "0"]} and not labelled.none


@pytest.mark.parametrize("cell", ["three", "nan", "inf", "1,5"])
def test_a_label_that_is_no_number_is_named(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=f"train.csv, line 3: label '{cell}' is no finite number; name columns of"):
        DIGITS_VALUES.train(place(tmp_path, f'id,label\na,1\nb,"{cell}"\n'))


def test_the_class_of_none_is_the_last(tmp_path: Path) -> None:
    train = place(tmp_path, "id,label\na,new\nb,3\nc,zoe\nd,new\n")
    labelled = DIGITS_RETRIEVAL.train(train)
    assert labelled.classes == ["3", "zoe", "new"] and labelled.none
    assert labelled.targets.tolist() == [2, 0, 1, 2]
    assert labelled.take(["d", "b"], train).none
    assert DIGITS_RETRIEVAL.train(place(tmp_path, "id,label\na,1\nb,3\n")).classes == ["1", "3", "new"]


@pytest.mark.parametrize(("kind", "sample", "best"), [
    ("digits", "0", ("accuracy", 1.0)), ("digits-values", "0", ("rmse", 0.0)),
    ("digits-retrieval", "new", ("map5", 1.0))])
def test_the_digits_as_three_competitions(tmp_path: Path, kind: str, sample: str, best: tuple) -> None:
    answers = tmp_path / "answers.csv"
    write_digits(tmp_path / "data", answers, 120, kind)
    asked = pd.read_csv(tmp_path / "data/sample_submission.csv", dtype=str)
    assert set(asked["label"]) == {sample} and len(asked) == 24
    labelled = get_competition(kind).train(tmp_path / "data")
    assert len(labelled.classes) == {"accuracy": 10, "rmse": 1, "map5": 9}[best[0]]
    assert digits_score(answers, answers, kind) == best
    name, score = digits_score(tmp_path / "data/sample_submission.csv", answers, kind)
    truth = pd.read_csv(answers, dtype=str)["label"]
    expected = np.sqrt((truth.astype(float) ** 2).mean()) if name == "rmse" else (truth == sample).mean()
    assert score == pytest.approx(expected)


def test_a_place_further_down_counts_its_part(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("id,label\na,1\nb,new\nc,3\nd,4\n")
    (tmp_path / "submission.csv").write_text("id,label\na,1 2\nb,5 6 new\nc,0 1 2 4 5 3\n")
    name, score = digits_score(tmp_path / "submission.csv", tmp_path / "answers.csv", "digits-retrieval")
    assert name == "map5" and score == pytest.approx((1 + 1 / 3) / 4)
