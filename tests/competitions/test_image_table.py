"""Competitions of images and a CSV: every error names the file, what is wrong and what to do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from made_stages import stage_of

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.answer_table import read_answer_table, write_answers
from foldpack.competitions.image_table import ImageTable, class_names, encode_labels, read_table
from foldpack.competitions.protocol import require_images
from foldpack.competitions.registry import COMPETITIONS
from foldpack.errors import DataError
from foldpack.settings.stages import LabelsDecision

LABELS = LabelsDecision(threshold=0.5)
DIGITS, IMET = find_adapter("digits"), find_adapter("imet")


def make_digits(root: Path, train: str = "id,label\na,1\nb,0\n", sample: str = "id,label\nx,0\ny,0\n") -> Path:
    for folder in ("train", "test"):
        (root / folder).mkdir(parents=True)
    for name in ("train/a.png", "train/b.png", "test/x.png", "test/y.png"):
        (root / name).touch()
    (root / "train.csv").write_bytes(train.encode())
    (root / "sample_submission.csv").write_bytes(sample.encode())
    return root


def read_training(root: Path) -> None:
    """As `foldpack folds` reads it."""
    require_images(DIGITS.train(root).items, root / "train.csv")


def test_items_and_labels_in_the_order_of_the_table(tmp_path: Path) -> None:
    train = DIGITS.train(make_digits(tmp_path, "label,id,extra\n1,b,NA\n007,a,\n"))
    items, labels = train.items, train.labels["label"]
    assert items.ids == ["b", "a"] and labels == ["1", "007"]
    assert items.images == [tmp_path / "train/b.png", tmp_path / "train/a.png"]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("id,lable\na,1\n", "train.csv: column 'label' is missing, got: id, lable; needed: id, label"),
        ("name,label\na,1\n", "column 'id' is missing, got: name, label; needed: id, label"),
        ("id,label\na,1\na,1\n", "train.csv: id 'a' stands there more than once; ids must be unique"),
        ("id,label\n", "train.csv: the table has no rows; is the download complete?"),
        ("", "train.csv: cannot read the table ("),
        ("id,label\na,1\nc,1\nd,2\n", "id 'c' has no image at {root}/train/c.png (2 of 3 are missing); complete"),
        ("id,label\na,1\n,2\n", "id '' has no image at"),
        ("id,label\na,1\nb,\n", "train.csv: id 'b' has no label (1 of 2 rows have none); each needs one"),
        ("id,label\na,1,x\nb,0,x\n", "train.csv: cannot read the table ("),  # would shift all columns
        ("id,label\na,1\nb,0,x\n", "train.csv: cannot read the table ("),
        ("id,label\n\"a,1\n", "train.csv: cannot read the table ("),
        (f"id,label\n{'a' * 300},1\nb,2\n", "has no image at"),
        ("id,label\na\0b,1\nb,2\n", "has no image at"),
    ],
)
def test_faults_of_a_training_table(tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_training(make_digits(tmp_path, train))
    assert message.format(root=tmp_path) in str(caught.value)
    assert str(tmp_path / "train.csv") in str(caught.value)


def test_a_missing_folder_a_folder_for_a_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train.csv: cannot read the table .*; is this the competition's folder"):
        DIGITS.train(tmp_path / "nothing")
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(DataError, match="cannot read the table"):
        DIGITS.train(tmp_path)
    (tmp_path / "other.csv").write_bytes(b"id,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="cannot read the table"):
        read_table(tmp_path / "other.csv", ["id"])


def test_a_folder_that_may_not_be_read_is_a_missing_image(tmp_path: Path, monkeypatch) -> None:
    def deny(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    root = make_digits(tmp_path)
    monkeypatch.setattr("os.stat", deny)
    with pytest.raises(DataError, match="id 'a' has no image at"):
        read_training(root)


def test_windows_line_ends_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    train = DIGITS.train(make_digits(tmp_path, '\ufeffid,label\r\n"a","1"\r\nb,0\r\n'))
    items, labels = train.items, train.labels["label"]
    assert items.ids == ["a", "b"] and labels == ["1", "0"]


def test_test_items_may_lack_their_image(tmp_path: Path) -> None:
    items = DIGITS.test(make_digits(tmp_path, sample="id,label\nz,0\nx,0\n"))
    assert items.ids == ["z", "x"] and items.images[0] == tmp_path / "test/z.png"
    assert len(DIGITS.test(make_digits(tmp_path / "empty", sample="id,label\n"))) == 0


def files_in(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("suffix", "item", "there", "taken"),
    [
        (".png", "x", ["x.png", "x.jpg"], "x.png"),  # what the adapter says comes first
        (".png", "x", ["x.jpg"], "x.jpg"),
        (".png", "x", ["x.JPEG"], "x.JPEG"),
        (".jpg", "x", ["x.JPG", "x.png"], "x.JPG"),  # of several the one that differs in capitals only
        (".jpg", "x", ["x.png", "x.tif"], "x.jpg"),  # which of them is not known: none
        (".jpg", "x", ["x.webp", "x.txt", "x", "xx.png"], "x.webp"),
        (".jpg", "x", [".x.png", "x.csv"], "x.jpg"),
        (".png", "x.jpg", ["x.jpg"], "x.jpg"),  # the id has its suffix already
        (".png", "x.jpg", ["x.png"], "x.png"),
        (".png", "1.5", ["1.5.tiff"], "1.5.tiff"),
        ("", "x.png", ["x.jpg"], "x.jpg"),
        ("", "x", ["x.bmp"], "x.bmp"),
        ("", "sub/x.png", ["sub/x.jpeg", "x.png"], "sub/x.jpeg"),
        (".png", "sub/x", ["sub/x.jpeg"], "sub/x.jpeg"),
        ("_green.png", "x", ["x_green.jpg", "x_red.png"], "x_green.jpg"),
        ("_green.png", "x", ["x.png", "x_red.png"], "x_green.png"),
        (".dcm", "x", ["x.png"], "x.png"),
        (".png", "../x", ["x.jpg"], "../x.png"),
    ],
)
def test_an_image_is_found_under_its_other_endings(tmp_path: Path, suffix, item, there, taken) -> None:
    files_in(tmp_path / "test", *there)
    (tmp_path / "sample_submission.csv").write_text(f"id,label\n{item},0\n")
    layout = replace(DIGITS, suffix=suffix)
    assert layout.test(tmp_path).images == [tmp_path / "test" / taken]


def test_the_folder_is_listed_once(tmp_path: Path, monkeypatch) -> None:
    files_in(tmp_path / "test", *(f"{k}.jpg" for k in range(50)))
    (tmp_path / "sample_submission.csv").write_text("id,label\n" + "".join(f"{k},0\n" for k in range(50)))
    listed: list[object] = []
    real = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: listed.append(folder) or real(folder))
    items = DIGITS.test(tmp_path)
    assert listed == [tmp_path / "test"] and items.images[7] == tmp_path / "test/7.jpg"
    assert items.notes == [f"{tmp_path / 'test'}: 50 of 50 images have another ending than expected and are taken, "
                           "such as '0.jpg' for '0.png'"]


def test_training_images_are_found_under_their_other_endings(tmp_path: Path) -> None:
    root = make_digits(tmp_path)
    (root / "train/b.png").rename(root / "train/b.JPG")
    items = DIGITS.train(root).items
    assert items.images == [root / "train/a.png", root / "train/b.JPG"]
    assert items.notes == [f"{root / 'train'}: 1 of 2 images have another ending than expected and are taken, such as "
                           "'b.JPG' for 'b.png'"]


@pytest.mark.parametrize(
    ("there", "notes"),
    [
        (["x.png", "y.png"], []),
        (["x.png", "y.png", "z.png", "w.jpg", "notes.txt"],
         ["holds 2 images more than the 2 that sample_submission.csv asks for, such as 'w'; they are not answered, so "
          "take a newer sample if this one is stale"]),
        (["x.png", "x.jpg", "y.png"], []),  # the same image twice
        (["x.png"], ["1 images of the 2 that sample_submission.csv asks for are missing, such as 'y.png'; their rows "
                     "get the prior"]),
        ([], ["2 images of the 2 that sample_submission.csv asks for are missing, such as 'x.png'; their rows get the "
              "prior"]),
    ],
)
def test_more_or_fewer_images_than_the_sample_asks_for(tmp_path: Path, there: list[str], notes: list[str]) -> None:
    files_in(tmp_path / "test", *there)
    (tmp_path / "sample_submission.csv").write_text("id,label\nx,0\ny,0\nx,0\n")
    assert DIGITS.test(tmp_path).notes == [f"{tmp_path / 'test'}: {note}" for note in notes]


def test_images_beside_the_one_of_an_item_are_no_surplus(tmp_path: Path) -> None:
    files_in(tmp_path / "test", "x_green.png", "x_red.png", "y_red.png")
    (tmp_path / "sample_submission.csv").write_text("id,label\nx,0\n")
    assert replace(DIGITS, suffix="_green.png").test(tmp_path).notes == []
    files_in(tmp_path / "test", "y_green.png")
    [note] = replace(DIGITS, suffix="_green.png").test(tmp_path).notes
    assert "holds 1 images more than the 1 that" in note and "'y_green'" in note
    shared = replace(DIGITS, suffix="_green.png", train_folder="test")  # training images lie there too
    assert shared.test(tmp_path).notes == []


def test_numbers_are_sorted_as_numbers_and_words_follow(tmp_path: Path) -> None:
    assert class_names(DIGITS, tmp_path, ["10", "9", "b", "a", "9", "²"]) == ["9", "10", "a", "b", "²"]


def test_one_class_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.csv: 1 classes \(7\); at least two are needed"):
        class_names(DIGITS, tmp_path, ["7", "7"])


def test_classes_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("attribute_id,attribute_name\n3,x\n1,NA\n")
    assert class_names(IMET, tmp_path, ["1"]) == ["3", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "labels.csv: cannot read the classes"), ("", "cannot read the classes"),
     ("id\n1\n2\n1\n", "class '1' stands there more than once; name each once"),
     ("id\n1\n", r"1 classes \(1\); at least two are needed")],
)
def test_faults_of_a_class_table(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        class_names(IMET, tmp_path, [])


def test_labels_become_indices_or_a_matrix() -> None:
    assert encode_labels(DIGITS, ["b", "a"], ["a", "b"]).tolist() == [1, 0]
    matrix = encode_labels(IMET, ["2 1", "", "2"], ["1", "2", "3"])
    assert matrix.dtype == bool and matrix.tolist() == [[True, True, False], [False] * 3, [False, True, False]]


def test_a_label_that_is_no_class() -> None:
    with pytest.raises(DataError, match="row 2 of the training table: class '9' is not among the 2 classes of labels"):
        encode_labels(IMET, ["1", "1 9"], ["1", "2"])


def answer(layout: ImageTable, root: Path, path: Path, answers: list[str]) -> None:
    """Write a submission for the sample in `root`."""
    table = read_answer_table(root / layout.sample_csv, layout.id_column, [layout.label_column])
    write_answers(path, table.filled({layout.label_column: answers}))


def test_a_submission_reads_back_and_is_checked(tmp_path: Path) -> None:
    root, path = make_digits(tmp_path), tmp_path / "submission.csv"
    answer(DIGITS, root, path, ["1", "0"])
    assert path.read_bytes() == b"id,label\nx,1\ny,0\n"
    DIGITS.check(path, stage_of(["0", "1"]), root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\ny,1\nx,0\n", "its 2 ids differ from the 2 ids of sample_submission.csv"),
        ("id,label\nx,1\n", "its 1 ids differ from the 2 ids"),
        ("id,label\nx,1\ny,7\n", "id 'y' is answered with '7', which is not a class"),
        ("id,label\nx,1\ny,\n", "id 'y' is answered with '', which is not a class"),
        ("id,label,more\nx,1,1\ny,0,1\n", "columns id, label, more; allowed: id, label"),
        ("label,id\n1,x\n0,y\n", "columns label, id; allowed: id, label"),
        ("id,lab", "column 'label' is missing"),
    ],
)
def test_a_wrong_submission_is_refused(tmp_path: Path, text: str, message: str) -> None:
    root, path = make_digits(tmp_path), tmp_path / "submission.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        DIGITS.check(path, stage_of(["0", "1"]), root)


def test_the_sample_decides_columns_and_rows(tmp_path: Path) -> None:
    """Further columns stay as the sample has them; an id that is asked for twice is answered twice."""
    root = make_digits(tmp_path, sample="usage,label,id\nPublic,0,x\n,0,y\nPrivate,0,x\n")
    path = tmp_path / "submission.csv"
    items = DIGITS.test(root)
    assert items.ids == ["x", "y", "x"] and items.images[0] == items.images[2]
    answer(DIGITS, root, path, ["1", "0", "1"])
    assert path.read_bytes() == b"usage,label,id\nPublic,1,x\n,0,y\nPrivate,1,x\n"
    DIGITS.check(path, stage_of(["0", "1"]), root)
    path.write_text("id,label\nx,1\ny,0\nx,1\n")
    with pytest.raises(DataError, match="columns id, label; allowed: usage, label, id"):
        DIGITS.check(path, stage_of(["0", "1"]), root)
    path.write_text("usage,label,id\n,1,x\n,0,y\n")
    with pytest.raises(DataError, match="its 2 ids differ from the 3 ids"):
        DIGITS.check(path, stage_of(["0", "1"]), root)


def test_a_multilabel_answer_may_be_empty_or_long(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("id,attribute_ids\nx,0\ny,0\n")
    path = tmp_path / "submission.csv"
    answer(IMET, tmp_path, path, ["1 2", ""])
    IMET.check(path, stage_of(["1", "2"], LABELS), tmp_path)
    with pytest.raises(DataError, match="answered with '2', which is not a class"):
        IMET.check(path, stage_of(["1", "3"], LABELS), tmp_path)


def test_some_training_items_are_taken_in_the_order_of_the_folds(tmp_path: Path) -> None:
    train = DIGITS.train(make_digits(tmp_path, "label,id,extra\n1,b,x\n007,a,y\n"))
    assert train.classes == ["1", "007"] and train.targets.tolist() == [0, 1]
    part = train.take(["a"], tmp_path / "folds.csv")
    assert part.items.ids == ["a"] and part.items.images == [tmp_path / "train/a.png"]
    assert part.targets.tolist() == [1] and part.labels == {"label": ["007"]} and part.columns["extra"] == ["y"]
    assert part.classes == train.classes
    with pytest.raises(DataError, match=r"folds.csv: id 'c' is no training item of the competition \(1 of 2 are none"):
        train.take(["a", "c"], tmp_path / "folds.csv")


def test_without_the_folder_a_submission_is_checked_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("id,label\nx,1\n")
    DIGITS.check(path, stage_of(["0", "1"]))
    path.write_text("id,label\nx,1\nx,1\n")
    with pytest.raises(DataError, match="id 'x' stands there more than once"):
        DIGITS.check(path, stage_of(["0", "1"]))


def test_the_registry_knows_its_competitions_by_their_names() -> None:
    assert all(find_adapter(name).name == name for name in COMPETITIONS)
    with pytest.raises(DataError, match="unknown competition 'digit': did you mean 'digits'. Allowed: digits, "):
        find_adapter("digit")
