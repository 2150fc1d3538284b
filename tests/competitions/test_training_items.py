"""Training items of a competition that a file tells of, and what is known of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import competition_of, write_files

from foldpack.errors import DataError

CLASS = {"kind": "class", "column": "label"}


def train(root: Path, text: str, labels: dict | None = None, **changes):
    write_files(root, {"train.csv": text, "sample_submission.csv": "id,label\nx,0\n"})
    return competition_of(labels=labels or CLASS, **changes).train(root)


def test_one_class_an_item(tmp_path: Path) -> None:
    labelled = train(tmp_path, "id,label,who\na,10,k\nb,9,l\nc,old,k\n", train__group="{who}")
    assert labelled.items.ids == ["a", "b", "c"] and labelled.classes == ["9", "10", "old"]
    assert labelled.targets.tolist() == [1, 0, 2] and labelled.labels == {"label": ["10", "9", "old"]}
    assert labelled.groups == ["k", "l", "k"] and labelled.columns["who"] == ["k", "l", "k"]
    assert labelled.take(["c"], tmp_path).groups == ["k"]


def test_a_map_of_class_names_and_a_table_of_classes(tmp_path: Path) -> None:
    write_files(tmp_path, {"classes.csv": "n;name\n0;cat\n1;dog\n2;cow\n"})
    labels = {**CLASS, "map": {"c": "cat", "d": "dog"},
              "classes": {"file": "classes.csv", "column": "name", "separator": ";"}}
    labelled = train(tmp_path, "id,label\na,d\nb,c\n", labels)
    assert labelled.classes == ["cat", "dog", "cow"] and labelled.targets.tolist() == [1, 0]


def test_classes_are_the_columns_of_the_answer(tmp_path: Path) -> None:
    write_files(tmp_path, {"sample.csv": ",id,dog,cat\n0,x,0.5,0.5\n"})
    answer = {"kind": "probabilities", "sample": "sample.csv", "id": "id"}
    labelled = train(tmp_path, "id,label\na,dog\nb,cat\n", {**CLASS, "classes": "answer"}, answer=answer)
    assert labelled.classes == ["dog", "cat"] and labelled.targets.tolist() == [0, 1]
    with pytest.raises(DataError) as caught:
        train(tmp_path, "id,label\na,dog\nb,cow\n", {**CLASS, "classes": "answer"}, answer=answer)
    assert str(caught.value) == (f"{tmp_path / 'train.csv'}, line 3: class 'cow' is not among the 2 classes of "
                                 f"{tmp_path / 'sample.csv'}, such as 'dog'; write it there, or translate it with "
                                 "labels.map")


def test_a_class_that_lost_its_zeros(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class '7' is not among the 2 classes of labels.classes, such as '007'; class "
                                        "'007' is there, so one of them has lost its zeros"):
        train(tmp_path, "id,label\na,7\n", {**CLASS, "classes": ["007", "008"]})


def test_rows_of_an_item_that_say_the_same_are_noted(tmp_path: Path) -> None:
    labelled = train(tmp_path, "id,label\na,1\nb,2\na,1\n")
    assert labelled.items.ids == ["a", "b"] and labelled.targets.tolist() == [0, 1]
    assert labelled.items.notes == [f"{tmp_path / 'train.csv'}: 1 ids stand there several times with the same label, "
                                    "such as 'a'; each is one item"]


@pytest.mark.parametrize(("text", "said"), [
    ("id,label\na,1\nb,2\na,3\n", "train.csv, line 4: id 'a' has label '3', but '1' in {root}/train.csv, line 2; keep"),
    ("id,label\na,1\nb,\n", "train.csv, line 3: id 'b' has no label (1 of 2 items have none); each needs one"),
    ("id,label\na,1\nb,1\n", "train.csv: 1 classes (1); at least two are needed"),
    ("id,label\n", "train.csv: the table has no rows; is the download complete?"),
    ("id,lable\na,1\n", "train.csv: labels: column 'label' is missing: did you mean 'lable'?"),
])
def test_labels_that_cannot_be_learned(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        train(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/{said.format(root=tmp_path)}")


def test_the_sample_tells_of_no_training_items() -> None:
    with pytest.raises(DataError, match="competition 'birds': train.source: the sample submission tells of test items"):
        competition_of(train__source={"kind": "sample"})
