"""Each shape of a download is recognised: its settings are the expected ones, each conclusion with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shapes import SHAPES, make_shape

from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.recognise.recognise import recognise
from foldpack.settings.competition import parse_competition
from foldpack.settings.strict_yaml import load_strict

EXPECTED = Path(__file__).with_name("recognised.yml")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_download_of_each_shape_is_recognised(shape: str, tmp_path: Path) -> None:
    expected: Any = load_strict(EXPECTED.read_text(encoding="utf-8"), str(EXPECTED))
    make_shape(shape, tmp_path / "data")
    findings = Findings()
    found = recognise(tmp_path / "data", "trees", "trees", findings).config
    assert found == parse_competition({"name": "trees", "slug": "trees", **expected[shape]}, shape)
    assert {each.key for each in findings.all} >= {"train", "test", "images", "labels", "answer", "metric"}
    assert all(each.said and each.why for each in findings.all)


def test_what_cannot_be_told_is_asked_with_the_best_choice_first(tmp_path: Path) -> None:
    make_shape("label_in_name", tmp_path / "data")
    asked: list[tuple[str, list[str]]] = []

    def choose(question: str, options: list[str]) -> int:
        asked.append((question, options))
        return 1

    findings = Findings(choose)
    found = recognise(tmp_path / "data", "pets", "pets", findings)
    assert asked == [("answer: 'label' is the probability of which class? (the sample does not say)",
                      ["that of 'dog'", "that of 'cat'"])]
    assert found.config.answer.model_dump()["of"] == "cat"
    assert [each.line for each in findings.of("answer") if each.why == "you said so"] == ["that of 'cat' (you said so)"]


def test_a_known_slug_says_the_metric(tmp_path: Path) -> None:
    make_shape("one_column", tmp_path / "data")
    known = recognise(tmp_path / "data", "leaves", "herbarium-2020-fgvc7", Findings())
    assert known.config.metric.name == "macro_f1"
    assert [each.sure for each in known.findings.of("metric")] == ["recognised"]


def write(folder: Path, name: str, text: str = "") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "there is no image and no table in this folder"),
        ([("train.zip", ""), ("test.zip", "")], "there is no sample submission, got: no table; needed: a CSV such as "
         "sample_submission.csv, whose rows say what is asked for; 2 archives lie there packed: cd '{data}' && "
         "unzip 'test.zip'"),
        ([("train.csv", "id,label\na,1\n")], "there is no sample submission, got: train.csv; needed"),
        ([("sample_submission.csv", "id,label\na,1\n"), ("train/images.tar.gz", "")], "sample_submission.csv: no image "
         "and no table has the ids of column 'id', such as 'a'; complete the download, or write competition.yml by "
         "hand; 1 archive lies there packed: cd '{data}/train' && tar xzf 'images.tar.gz'"),
        ([("sample_submission.csv", "id,label\na,1\n"), ("test/a.png", ""), ("train.7z", "")], "no training images and "
         "no table with labels, got: sample_submission.csv; needed: a CSV, JSON or BSON that tells of images, or a "
         "folder a class; 1 archive lies there packed: cd '{data}/' && 7z x 'train.7z'"),
        ([("sample_submission.csv", "id,label\na,1\n"), ("test/a.png", ""), ("train/b.png", "")], "1 training images "
         "in train, and neither a table nor folders nor file names say their labels"),
    ],
)
def test_a_folder_that_is_no_whole_download_is_told_with_what_to_do(
    files: list[tuple[str, str]], message: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, text in files:
        write(data, name, text)
    with pytest.raises(RecognitionError) as caught:
        recognise(data, "trees", "trees", Findings())
    said = str(caught.value).replace(f"{data}/'", f"{data}'")
    assert message.replace("{data}/'", "{data}'").replace("{data}", str(data)) in said and "\n" not in said


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecognitionError, match="no such folder; give the competition's folder, as downloaded"):
        recognise(tmp_path / "data", "trees", "trees", Findings())
