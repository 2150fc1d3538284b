"""Training items of a competition that a file tells of, and what is known of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_competition import competition_of, write_files
from PIL import Image
from small_house import tiny_config

from foldpack.errors import DataError, FoldpackError
from foldpack.settings.run import ConfigError
from foldpack.train.targets import training_targets, training_task

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


def test_an_individual_an_item_and_those_that_are_like_no_other(tmp_path: Path) -> None:
    labelled = train(tmp_path, "id,label\na,new\nb,zoe\nc,3\n", {"kind": "identity", "column": "label", "none": "new"})
    assert labelled.classes == ["3", "zoe", "new"] and labelled.none and labelled.targets.tolist() == [2, 1, 0]
    labelled = train(tmp_path, "id,label\nb,zoe\nc,3\n", {"kind": "identity", "column": "label", "none": "new"})
    assert labelled.classes == ["3", "zoe", "new"] and labelled.none and labelled.targets.tolist() == [1, 0]
    assert not train(tmp_path, "id,label\nb,zoe\nc,3\n", {"kind": "identity", "column": "label"}).none
    with pytest.raises(FoldpackError, match="queries.none is the share of items that are like no other; name their la"):
        train(tmp_path, "id,label\nb,z\n", {"kind": "identity", "column": "label", "queries": {"none": 0.3}})


def test_grades_are_classes_and_numbers(tmp_path: Path) -> None:
    grades = {"kind": "grades", "column": "label", "grades": 4}
    labelled = train(tmp_path, "id,label\na,3\nb,0.0\nc,2\n", grades)
    assert labelled.classes == ["0", "1", "2", "3"] and labelled.targets.tolist() == [3, 0, 2]
    assert training_targets("regress", labelled)[0].tolist() == [[3.0], [0.0], [2.0]]
    for cell in ("4", "1.5", "-1", "high"):
        with pytest.raises(DataError, match=f"train.csv, line 3: label is '{cell}'; allowed: whole numbers from 0 to"):
            train(tmp_path, f"id,label\na,3\nb,{cell}\n", grades)


def test_a_column_a_class(tmp_path: Path) -> None:
    labels = {"kind": "one-hot", "columns": ["cat", "dog"], "exclusive": True}
    labelled = train(tmp_path, "id,cat,dog\na,0,1\nb,1.0,0.0\n", labels)
    assert labelled.targets.tolist() == [1, 0] and labelled.labels == {"label": ["dog", "cat"]}
    assert competition_of(labels=labels).task == "multiclass"
    with pytest.raises(DataError, match=r"train.csv, line 3: id 'b' has 2 classes \(cat, dog\), and labels.exclusive "
                                        r"is true \(1 of 2 items have none or several\); set it to false, or mend"):
        train(tmp_path, "id,cat,dog\na,0,1\nb,1,1\n", labels)
    with pytest.raises(DataError, match="train.csv, line 2: cat is '0.3'; allowed: 0 and 1; columns of other numbers"):
        train(tmp_path, "id,cat,dog\na,0.3,1\n", labels)
    several = {**labels, "exclusive": False}
    labelled = train(tmp_path, "id,cat,dog\na,0,0\nb,1,1\n", several)
    assert labelled.targets.tolist() == [[False, False], [True, True]] and labelled.targets.dtype == bool
    assert labelled.labels == {"cat": ["0", "1"], "dog": ["0", "1"]}
    assert competition_of(labels=several).task == "multilabel"


def test_any_number_of_classes_in_a_cell(tmp_path: Path) -> None:
    joined = {"kind": "labels", "column": "label", "separator": "|", "map": {"k9": "dog"}}
    labelled = train(tmp_path, "id,label\na,cat|k9\nb,\nc,cow\nb,cat\n", joined)
    assert labelled.classes == ["cat", "cow", "dog"] and labelled.items.ids == ["a", "b", "c"]
    assert labelled.targets.tolist() == [[True, False, True], [True, False, False], [False, True, False]]
    assert labelled.labels == {"label": ["cat|dog", "cat", "cow"]}
    listed = {"kind": "labels", "column": "label", "classes": ["2", "1", "3"]}
    assert train(tmp_path, "id,label\na,1 2\nb,1\n", listed).targets.tolist() == [[True, True, False],
                                                                                 [False, True, False]]
    with pytest.raises(DataError, match="train.csv, line 3: class '9' is not among the 3 classes of labels.classes"):
        train(tmp_path, "id,label\na,1 2\nb,1 9\n", listed)


@pytest.mark.parametrize(("text", "said"), [
    ("id,x,y\na,1,2\nb,2011-05-13,3\n", "line 3: x '2011-05-13' is a date, and no number; name columns of numbers in"),
    ("id,x,y\na,1,2\nb,2011-05-13 23:43:18,3\n", "line 3: x '2011-05-13 23:43:18' is a date, and no number"),
    ("id,x,y\na,1,two\n", "line 2: y 'two' is no finite number; name columns of numbers in labels.columns, or mend"),
    ("id,x,y\na,1,nan\n", "line 2: y 'nan' is no finite number"),
    ("id,x,y\na,1,\n", "line 2: id 'a' has no y (1 of 1 items have none)"),
    ("id,x,y\na,1,101\n", "line 2: y is 101; allowed: 1 to 100, as labels.range says"),
])
def test_numbers_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        train(tmp_path, text, {"kind": "values", "columns": ["x", "y"], "range": [1, 100]})
    assert str(caught.value).startswith(f"{tmp_path / 'train.csv'}, {said}")


def test_numbers_an_item(tmp_path: Path) -> None:
    labelled = train(tmp_path, "id,x,y\na,1,2.50\nb,1e2,3\n", {"kind": "values", "columns": ["y", "x"]})
    assert labelled.targets.tolist() == [[2.5, 1.0], [3.0, 100.0]] and labelled.classes == ["y", "x"]
    assert labelled.labels == {"y": ["2.50", "3"], "x": ["1", "1e2"]}


def test_boxes_as_text_in_a_cell(tmp_path: Path) -> None:
    boxes = {"kind": "boxes", "column": "label", "text": ["label", "x", "y", "width", "height"]}
    labelled = train(tmp_path, "id,label\na,dog 1 2 3 4 cat 0 0 5.5 5\nb,\n", boxes)
    assert labelled.classes == ["cat", "dog"] and labelled.targets.tolist() == [[True, True], [False, False]]
    assert labelled.rows is not None and labelled.rows.starts is not None and labelled.rows.starts.tolist() == [0, 2, 2]
    assert labelled.rows.columns["box"].tolist() == [[1, 2, 4, 6], [0, 0, 5.5, 5]]
    assert labelled.rows.columns["label"].tolist() == [1, 0]
    turned = labelled.take(["b", "a"], tmp_path).rows
    assert turned is not None and turned.starts is not None and turned.starts.tolist() == [0, 0, 2]
    assert competition_of(labels=boxes).task == "boxes"


def test_boxes_in_columns_by_raters_and_none(tmp_path: Path) -> None:
    columns = {name: name for name in ("x_min", "y_min", "x_max", "y_max")}
    labels = {"kind": "boxes", "columns": columns, "label": "kind", "rater": "who", "none": "14"}
    rows = train(tmp_path, "id,kind,who,x_min,y_min,x_max,y_max\na,3,R1,1,2,3,4\na,5,R2,0,0,9,9\nb,14,R1,,,,\n",
                 labels).rows
    assert rows is not None and rows.starts is not None and rows.starts.tolist() == [0, 2, 2]
    assert rows.columns["rater"].tolist() == [0, 1] and rows.columns["label"].tolist() == [0, 1]


@pytest.mark.parametrize(("cell", "said"), [
    ("dog 1 2 3", "label has 4 words, which are no boxes of 5 each: label x_min y_min x_max y_max; mend the row, or"),
    ("dog 5 2 3 4", "the box 'dog 5 2 3 4' is turned over or empty, x from 5 to 3, y from 2 to 4; needed: x_min < x_"),
    ("dog 1 2 x 4", "the box 'dog 1 2 x 4' has x_max 'x'; needed: the numbers x_min, y_min, x_max, y_max"),
])
def test_boxes_that_are_none(tmp_path: Path, cell: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        train(tmp_path, f"id,label\na,cat 0 0 1 1\nb,{cell}\n",
              {"kind": "boxes", "column": "label", "text": ["label", "x_min", "y_min", "x_max", "y_max"]})
    assert str(caught.value).startswith(f"{tmp_path / 'train.csv'}, line 3: {said}")


def test_boxes_of_coco(tmp_path: Path) -> None:
    content = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
               "annotations": [{"id": 0, "image_id": 1, "category_id": 6, "bbox": [1, 2, 3, 4]},
                               {"id": 1, "image_id": 1, "category_id": 5, "bbox": [0, 0, 1, 1]}]}
    write_files(tmp_path, {"a.json": json.dumps(content)})
    coco = {"source": {"kind": "coco", "file": "a.json"}, "id": "{image_id}", "image": "train/{image_id}.png"}
    labels = {"kind": "boxes", "bbox": "bbox", "label": "category_name", "classes": ["cat", "dog"]}
    labelled = competition_of(train=coco, labels=labels).train(tmp_path)
    assert labelled.items.ids == ["1", "2"] and labelled.rows is not None
    assert labelled.rows.columns["box"].tolist() == [[1, 2, 4, 6], [0, 0, 1, 1]]
    assert labelled.rows.columns["label"].tolist() == [1, 0]


def test_masks_of_classes(tmp_path: Path) -> None:
    labels = {"kind": "masks", "column": "rle", "label": "kind", "size": ["h", "w"]}
    labelled = train(tmp_path, "id,kind,rle,h,w\na,dog,1 2 5 1,2,3\na,cat,,2,3\nb,cat,6 1,2,3\n", labels)
    assert labelled.classes == ["cat", "dog"] and labelled.targets.tolist() == [[False, True], [True, False]]
    assert labelled.rows is not None and labelled.rows.columns["size"].tolist() == [[2, 3], [2, 3]]
    assert labelled.rows.columns["mask"].tolist() == [[0, 2], [4, 1], [5, 1]]
    assert labelled.rows.within["mask"].tolist() == [0, 2, 3]
    assert labelled.take(["b"], tmp_path).rows.columns["mask"].tolist() == [[5, 1]]  # type: ignore[union-attr]
    along = train(tmp_path, "id,kind,rle,h,w\na,dog,0 2,2,3\nb,cat,,2,3\n", {**labels, "order": "rows", "base": 0})
    assert along.rows is not None and along.rows.columns["mask"].tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(("rows", "said"), [
    ("a,cat,1 2 9 1,2,3\nb,dog,,2,3\n", "line 2: rle: the mask ends at pixel 9, outside its picture of 2 x 3 = 6; me"),
    ("a,cat,1 2 2 1,2,3\nb,dog,,2,3\n", "line 2: rle: the runs at 1 and 2 share pixels; needed: pairs of a start and"),
    ("a,cat,1 2 3,2,3\nb,dog,,2,3\n", "line 2: rle: 3 numbers are no pairs of start and length; needed"),
    ("a,cat,0 2,2,3\nb,dog,,2,3\n", "line 2: rle: a run begins at 0, and pixels are counted from 1; needed"),
    ("a,cat,1 x,2,3\nb,dog,,2,3\n", "line 2: rle: 'x' is no whole number; needed"),
    ("a,cat,1 2,0,3\nb,dog,,2,3\n", "line 2: h and w are '0 3', and '0' is no number of pixels; name the columns"),
    ("a,cat,1 2,2,3\na,cat,3 1,2,3\nb,dog,,2,3\n", "line 3: id 'a' has a mask of cat already in {root}/train.csv, li"),
])
def test_masks_that_are_none(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        train(tmp_path, f"id,kind,rle,h,w\n{rows}",
              {"kind": "masks", "column": "rle", "label": "kind", "size": ["h", "w"]})
    assert str(caught.value).startswith(f"{tmp_path / 'train.csv'}, {said.format(root=tmp_path)}")


def test_a_mask_outside_its_image(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "train/a.png")
    masks = {"kind": "masks", "column": "label"}
    rows = train(tmp_path, "id,label\na,1 6\ngone,1 99\n", masks).rows
    assert rows is not None and rows.columns["size"].tolist() == [[2, 3], [0, 0]]
    with pytest.raises(DataError, match="train.csv, line 2: label: the mask ends at pixel 7, outside its picture of"):
        train(tmp_path, "id,label\na,1 7\n", masks)
    write_files(tmp_path, {"train/a.png": b"no image"})
    with pytest.raises(DataError, match=r"a.png: its size cannot be read \(.*\); mend the image, or name columns of"):
        train(tmp_path, "id,label\na,1 7\n", masks)


@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_no_task_learns_objects_yet(labels: str) -> None:
    config = tiny_config()
    with pytest.raises(ConfigError, match=f"has {labels}, and no task learns these yet; it can be read, looked at, a"):
        training_task(config, labels)
