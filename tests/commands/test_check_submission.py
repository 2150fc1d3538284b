"""`foldpack check-submission`: any file against a competition.yml, with the competition's folder and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_competition import competition_of, write_files
from PIL import Image

from foldpack.commands.main import app
from foldpack.commands.run_app import run_app
from foldpack.settings.competition import competition_text

TRAIN = "id,label\nt,cat\nu,dog\n"
SAMPLE = "id,label\na,0\nb,0\nc,0\n"
BOXES = {"labels": {"kind": "boxes", "column": "label", "text": ["label", "x", "y", "width", "height"], "none": "none"},
         "answer": {"kind": "boxes", "id": "id", "column": "label", "text": ["label", "x", "y", "width", "height"]}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "data", {"train.csv": TRAIN, "sample_submission.csv": SAMPLE},
                *(f"{place}.png" for place in ("train/t", "train/u", "test/a", "test/b", "test/c")))
    return tmp_path


def checked(capsys: pytest.CaptureFixture, submission: str, *arguments: str, **settings: Any) -> tuple[int, list[str]]:
    """Exit code and lines, errors too."""
    Path("competition.yml").write_text(competition_text(competition_of(**settings).config))
    Path("s.csv").write_text(submission)
    code = run_app(app, ["check-submission", "s.csv", *arguments])
    said = capsys.readouterr()
    return code, (said.out + said.err).splitlines()


def test_a_good_file(capsys: pytest.CaptureFixture) -> None:
    good = "id,label\nb,cat\na,dog\nc,cat\n"  # in another order than the sample, which ids allow
    assert checked(capsys, good, "--data", "data") == (0, ["ok: s.csv: 3 rows of 3 ids, answered in label"])


def test_faults_are_told_and_counted(capsys: pytest.CaptureFixture) -> None:
    code, lines = checked(capsys, "id,label\na,cow\nb,cat\nb,cat\n", "--data", "data")
    assert code == 1 and lines == [
        "s.csv: 1 of 3 ids are missing, such as 'c'; each id of the sample submission needs a row",
        "s.csv: row 3, id 'b': has 2 rows; allowed: 1, as in the sample submission",
        "s.csv: row 1, id 'a': label is 'cow', which is no class; allowed: cat, dog",
        "3 faults"]


def test_of_many_faults_the_first_ten_are_shown(capsys: pytest.CaptureFixture) -> None:
    code, lines = checked(capsys, "id,label\n" + "".join(f"{row},\n" for row in range(25)))
    assert code == 1 and len(lines) == 12 and lines[-1] == "25 faults, 15 of them not shown"
    assert lines[:2] == ["note: without --data ids are not compared with those of the sample submission",
                         "s.csv: row 1, id '0': label is empty; allowed: the name of a class"]


def test_without_the_folder_classes_are_those_that_the_file_lists(capsys: pytest.CaptureFixture) -> None:
    listed = {"kind": "class", "column": "label", "classes": ["cat", "dog"]}
    assert checked(capsys, "id,label\nx,cow\n")[0] == 0
    assert checked(capsys, "id,label\nx,cow\n", labels=listed)[1][1:] == [
        "s.csv: row 1, id 'x': label is 'cow', which is no class; allowed: cat, dog", "1 fault"]
    grades = {"labels": {"kind": "grades", "column": "label", "grades": 3},
              "answer": {"kind": "grades", "id": "id", "column": "label"}, "metric": {"name": "qwk"}}
    assert checked(capsys, "id,label\nx,3\n", **grades)[1][1] == (
        "s.csv: row 1, id 'x': label is '3'; allowed: whole numbers from 0 to 2")


def test_without_the_training_items_classes_are_not_looked_at(capsys: pytest.CaptureFixture) -> None:
    Path("data/train.csv").unlink()
    code, lines = checked(capsys, "id,label\nb,cow\na,dog\nc,cat\n", "--data", "data")
    assert code == 0 and lines[0].startswith("note: names of classes are not looked at, as the training items cannot "
                                             "be read: data/train.csv: ")


def test_boxes_are_held_to_the_sizes_of_their_images(project: Path, capsys: pytest.CaptureFixture) -> None:
    (project / "data/train.csv").write_text("id,label\nt,cat 1 2 3 4\nu,dog 5 6 7 8\n")
    for name, size in (("a", (20, 10)), ("b", (10, 20))):
        Image.new("RGB", size).save(project / f"data/test/{name}.png")
    text = "id,label\na,none 0 0 20 10\nb,cat 0 0 20 10\nc,cat 0 0 900 900\n"
    code, lines = checked(capsys, text, "--data", "data", metric={"name": "box_map"}, **BOXES)
    assert code == 1 and lines == [
        "note: the size of 1 of 3 images is not known: what lies outside of them is not told",
        "s.csv: row 2, id 'b': label has 'cat 0 0 20 10': x + width is 20; allowed: from 0 to 10, the width of the "
        "image",
        "1 fault"]


def test_a_file_without_the_column_is_a_fault(capsys: pytest.CaptureFixture) -> None:
    assert checked(capsys, "id,kind\na,cat\n", "--data", "data") == (
        1, ["s.csv: column 'label' is missing, got: id, kind; needed: id, label", "1 fault"])


def test_row_numbers_and_stray_spaces_are_called_so(capsys: pytest.CaptureFixture) -> None:
    numbered = ",id,label\n0,a,cat\n1,b,dog\n2,c,cat\n"
    told = "(pandas: to_csv(index=False))"
    assert checked(capsys, numbered, "--data", "data")[1] == [
        "s.csv: columns one without a name, id, label; allowed: id, label, in this order; leave the row numbers out "
        + told,
        "1 fault"]
    assert checked(capsys, numbered)[1][1] == (
        f"s.csv: a column has no name; write the table without its row numbers {told}")
    ranked = {"labels": {"kind": "identity", "column": "label"}, "metric": {"name": "map", "k": 2},
              "answer": {"kind": "ranking", "id": "id", "column": "label", "k": 2}}
    assert checked(capsys, "id,label\nx, cat dog\n", **ranked)[1][1] == (
        "s.csv: row 1, id 'x': label is ' cat dog', which has a stray space or separator; allowed: exactly a space "
        "between two names")


def test_what_cannot_be_checked_at_all(capsys: pytest.CaptureFixture) -> None:
    assert run_app(app, ["check-submission", "t.csv", "--competition", "competition.yml"]) == 2
    assert capsys.readouterr().err == ("error: t.csv: there is no such file; name the submission that is to be "
                                       "checked\n")
    assert run_app(app, ["check-submission", "data", "--competition", "competition.yml"]) == 2
    assert capsys.readouterr().err == "error: data: it is a folder; name the submission in it that is to be checked\n"
    Path("data/sample_submission.csv").unlink()
    code, lines = checked(capsys, "id,label\na,cat\n", "--data", "data")
    assert code == 2 and lines[-1].startswith("error: data/sample_submission.csv: cannot read the table")
