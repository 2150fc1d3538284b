"""Names that nearly fit: ids without their zeros, other capital letters, tables and folders that lie there twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from test_doubts import doubts, edit, made, refused

from foldpack.recognise.findings import Findings
from foldpack.recognise.naming import name_project
from foldpack.recognise.recognise import recognise


def numbered(tmp_path: Path, *shortened: str) -> Path:
    """Images called 00000 on, and tables whose ids say so; those named have lost the zeros."""
    data = made("values", tmp_path)
    names: dict[str, str] = {}
    for split, start in (("train", 0), ("test", 700)):
        for number, path in enumerate(sorted((data / split).iterdir())):
            names[path.stem] = f"{start + 7 * number:05d}"
            path.rename(path.with_name(f"{names[path.stem]}.jpg"))
    for file in ("train.csv", "test.csv", "sample_submission.csv"):
        edit(data, file, lambda frame, file=file: frame.assign(
            Id=[names[cell] if file not in shortened else str(int(names[cell])) for cell in frame.Id]))
    return data


def test_ids_with_zeros_are_names(tmp_path: Path) -> None:
    config = recognise(numbered(tmp_path), "trees", "trees", Findings()).config
    assert config.train.image == "train/{Id}.jpg" and config.test.image == "test/{Id}.jpg"


@pytest.mark.parametrize("shortened", [["train.csv"], ["train.csv", "test.csv", "sample_submission.csv"]])
def test_lost_zeros_are_told_with_the_image(shortened: list[str], tmp_path: Path) -> None:
    said = refused(numbered(tmp_path, *shortened))
    file, split = ("train.csv", "train") if len(shortened) == 1 else ("sample_submission.csv", "test")
    assert said.startswith(f"{file}: ") or f"; {file}: " in said
    assert "column 'Id' has '" in said and f"and the image is {split}/00" in said
    assert "zeros were lost, as in a spreadsheet" in said


@pytest.mark.parametrize(("slug", "sure"), [("humpback-whale-identification", "recognised"),
                                            ("seals", "could not tell")])
def test_a_ranking_of_unknown_classes_is_one(slug: str, sure: str, tmp_path: Path) -> None:
    data = made("identities", tmp_path)
    edit(data, "sample_submission.csv", lambda frame: frame.assign(Id="s_z s_y s_x s_v s_a"))
    found = recognise(data, "seals", slug, Findings())
    assert found.config.answer.model_dump()["k"] == 5
    assert [each.sure for each in found.findings.of("answer") if each.said == "5 classes in 'Id', best first"] == [sure]


@pytest.mark.parametrize(
    ("said", "slug", "sure"),
    [
        ("https://www.kaggle.com/competitions/leaf-classification", "leaf-classification", "recognised"),
        ("kaggle.com/c/trees-2031/data?select=a.csv", "trees-2031", "recognised"),
        ("petfinder-pawpularity-scor", "petfinder-pawpularity-scor", "could not tell"),
        ("herbarium-2019-fgvc6", "herbarium-2019-fgvc6", "recognised"),
    ],
)
def test_a_slug_may_be_an_address_and_a_slip_is_doubted(said: str, slug: str, sure: str, tmp_path: Path) -> None:
    findings = Findings()
    assert name_project(tmp_path / "p", tmp_path / "data", said, findings) == ("p", slug)
    assert [each.sure for each in findings.all] == [sure]
    assert sure == "recognised" or "it may be: petfinder-pawpularity-score" in findings.all[0].why


def test_a_second_copy_of_a_table_is_left_out(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    shutil.copy(data / "train.csv", data / "train (1).csv")
    found = recognise(data, "trees", "trees", Findings())
    assert found.config.train.source.model_dump()["file"] == "train.csv"
    assert "train (1).csv is left out (its rows are those of train.csv)" in [
        each.line for each in found.findings.of("train")]


def test_another_table_of_the_same_columns_is_doubted(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    pd.read_csv(data / "train.csv", dtype=str).head(40).to_csv(data / "train_old.csv", index=False)
    assert "train.csv, 60 rows (they have the same columns; it may be: train_old.csv, 40 rows)" in doubts(data)


def test_test_images_among_the_class_folders_are_no_class(tmp_path: Path) -> None:
    data = made("class_folders", tmp_path)
    before = recognise(data, "trees", "trees", Findings()).config
    shutil.copytree(data / "test", data / "train/test")
    found = recognise(data, "trees", "trees", Findings())
    classes = sorted(path.name for path in (data / "train").iterdir() if path.name != "test")
    assert found.config == before.model_copy(update={"train": before.train.model_copy(
        update={"where": {"label": classes}})})
    assert "train/test/ is left out (its images are those of test/, unpacked twice)" in [
        each.line for each in found.findings.of("train")]


def test_an_empty_class_folder_is_doubted(tmp_path: Path) -> None:
    data = made("class_folders", tmp_path)
    (data / "train/Oak").mkdir()
    assert doubts(data) == ["folder train/Oak is no class (it is empty; complete the download, or leave it so)"]


def test_a_utf16_table_is_read(tmp_path: Path) -> None:
    data = made("column_a_class", tmp_path)
    (data / "labels.csv").write_text((data / "labels.csv").read_text(), encoding="utf-16")
    source = recognise(data, "trees", "trees", Findings()).config.train.source
    assert source.model_dump() == {"kind": "csv", "file": "labels.csv", "separator": ",", "encoding": "utf-16"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("page", "; labels.csv: it is a web page and no table; download it again, signed in to Kaggle, or write"),
        ("empty", "; labels.csv: it is empty; take the file from the download again, or write"),
        ("archive", "; labels.csv: it is an archive and no table; unpack it, or take the file from the download again"),
        ("letters", ".jpg', and the image is train/"),
        ("missing", "; labels.csv: of 60 names in column 'id' only 20 have an image, not '"),
        ("no labels", "; labels.csv: no column has labels, got: id; take the file from the download again, or write"),
        ("no images", "no training images and no table with labels, got: labels.csv, sample_submission.csv; needed: a "
         "CSV, JSON or BSON that tells of images, or a folder a class; folder train is empty"),
    ],
)
def test_why_the_nearest_table_does_not_tell_the_labels(what: str, message: str, tmp_path: Path) -> None:
    data = made("column_a_class", tmp_path)
    table, images = data / "labels.csv", sorted((data / "train").iterdir())
    if what in ("page", "empty", "archive"):
        table.write_bytes({"page": b"\n<!DOCTYPE html><html>\n403\n", "empty": b"", "archive": b"PK\3\4 x\n1\n"}[what])
    elif what == "letters":
        edit(data, "labels.csv", lambda frame: frame.assign(id=[f"{cell}.jpg" for cell in frame.id]))
        for path in images:
            path.rename(path.with_suffix(".JPG"))
    elif what == "no labels":
        edit(data, "labels.csv", lambda frame: frame[["id"]])
    for path in images[: {"missing": 40, "no images": 60}.get(what, 0)]:
        path.unlink()
    assert message in refused(data)


def test_a_table_that_was_passed_over_for_folders_is_doubted(tmp_path: Path) -> None:
    data = made("class_folders", tmp_path)
    (data / "train.csv").write_text("<html>403 Forbidden</html>")
    assert doubts(data) == ["the labels are those of folders or file names (train.csv: it is a web page and no table; "
                            "download it again, signed in to Kaggle)"]
