"""Items that JSON and BSON tell of."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bson
import pytest
from made_competition import competition_of, write_files

from foldpack.competitions.sources.bson_table import read_bson_table
from foldpack.competitions.sources.coco_table import read_coco_table
from foldpack.competitions.sources.records_table import read_records_table
from foldpack.errors import DataError

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 9}, {"id": 8, "file_name": "b.jpg", "width": 10}],
    "annotations": [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [1, 2.5, 3, 4], "iscrowd": False, "width": 1},
                    {"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1], "area": 0.5}],
    "categories": [{"id": 3, "name": "cat", "family": None}, {"id": 4, "name": "dog"}],
}


def test_a_row_an_annotation_and_one_for_an_image_without_any(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.json": json.dumps(COCO)})
    table = read_coco_table(tmp_path, "train", "a.json")
    assert table.columns == {
        "image_id": ["7", "7", "8"], "file_name": ["a.jpg", "a.jpg", "b.jpg"], "width": ["9", "9", "10"],
        "annotation_id": ["0", "1", ""], "category_id": ["3", "4", ""], "bbox": ["[1, 2.5, 3, 4]", "[0, 0, 1, 1]", ""],
        "iscrowd": ["false", "", ""], "annotation_width": ["1", "", ""], "area": ["", "0.5", ""],
        "category_name": ["cat", "dog", ""], "category_family": ["", "", ""]}
    assert table.where(2) == f"{tmp_path / 'a.json'}, image 2"


def test_other_keys_several_files_and_a_bare_list(tmp_path: Path) -> None:
    def part(item: str) -> dict:
        return {"images": [{"image_id": item}], "annotations": [{"image_id": item, "category_id": 1}],
                "categories": [{"category_id": 1, "scientificName": "Aé"}]}

    write_files(tmp_path, {"a.json": json.dumps(part("007")), "b.json": json.dumps(part("x"), ensure_ascii=False)
                           .encode("latin-1"), "test.json": "\ufeff" + json.dumps([{"id": 1, "file_name": "t.jpg"}])})
    for file, item in (("a.json", "007"), ("b.json", "x")):
        table = read_coco_table(tmp_path, "train", file, "image_id", "category_id", "latin-1")
        assert table.columns["image_id"] == [item] and table.columns["category_scientificName"] == ["Aé"]
    both = read_coco_table(tmp_path, "train", ["a.json", "b.json"], "image_id", "category_id", "latin-1")
    assert both.columns["image_id"] == ["007", "x"] and both.where(1) == f"{tmp_path / 'b.json'}, image 1"
    assert read_coco_table(tmp_path, "test", "test.json").columns == {"image_id": ["1"], "file_name": ["t.jpg"]}
    with pytest.raises(DataError, match="b.json: byte 140 is no utf-8 .*; set encoding to that of the file"):
        read_coco_table(tmp_path, "train", "b.json", "image_id", "category_id")


@pytest.mark.parametrize(("change", "said"), [
    ({"images": [{"image_id": 7}]}, "images 1: it has no 'id', got: image_id; set image_key to one of these"),
    ({"images": [{"id": 7}, {"id": 7}]}, "images 2: id '7' stands there more than once; keep one of them"),
    ({"images": [{"id": 8}]}, "annotation 1: its image_id is '7', which is no id of an image; set image_key to"),
    ({"categories": [{"id": 4}]}, "annotation 1: its category_id is '3', which is no id of a category; set category_k"),
    ({"images": [8]}, "images 1: it is a int; needed: an object with fields"),
])
def test_faults_of_coco(tmp_path: Path, change: dict, said: str) -> None:
    write_files(tmp_path, {"a.json": json.dumps({**COCO, **change})})
    with pytest.raises(DataError) as caught:
        read_coco_table(tmp_path, "train", "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}, {said}")


def test_records_as_a_list_and_an_object_a_line(tmp_path: Path) -> None:
    records = [{"id": "a", "band": [0.5] * 99, "angle": "na"}, {"id": "b", "angle": 30.25, "is": True}]
    write_files(tmp_path, {"a.json": json.dumps(records), "b.json": "\n".join(map(json.dumps, records))})
    for file in ("a.json", "b.json"):
        table = read_records_table(tmp_path, "train", file)
        assert table.columns == {"row": ["0", "1"], "id": ["a", "b"], "angle": ["na", "30.25"], "is": ["", "true"]}
    write_files(tmp_path, {"c.json": "[1", "d.json": "7"})
    with pytest.raises(DataError, match=r"c.json: broken JSON \(.*\); take the file as it was downloaded"):
        read_records_table(tmp_path, "train", "c.json")
    with pytest.raises(DataError, match="d.json: it is a int; needed: a list of objects, or an object a line"):
        read_records_table(tmp_path, "train", "d.json")


def test_a_row_a_picture_of_a_document(tmp_path: Path) -> None:
    documents = [bson.encode({"_id": 3, "imgs": [{"picture": b"x"}, {"picture": b"y"}], "category_id": 10}),
                 bson.encode({"_id": 4, "imgs": [{"picture": b"z"}], "category_id": 11})]
    write_files(tmp_path, {"a.bson": b"".join(documents), "cut.bson": documents[0][:-3]})
    table = read_bson_table(tmp_path, "train", "a.bson")
    size = str(len(documents[0]))
    assert table.columns == {"offset": ["0", "0", size], "picture": ["0", "1", "0"], "_id": ["3", "3", "4"],
                             "category_id": ["10", "10", "11"]}
    with pytest.raises(DataError, match="a.bson, document 1: it has no list 'pics', got: _id, imgs, category_id; set"):
        read_bson_table(tmp_path, "train", "a.bson", "pics")
    with pytest.raises(DataError, match="a.bson, document 1: its picture 0 has no 'image', got: picture; set picture"):
        read_bson_table(tmp_path, "train", "a.bson", picture="image")
    with pytest.raises(DataError, match=r"cut.bson: cannot read it \(.*\); complete the download"):
        read_bson_table(tmp_path, "train", "cut.bson")


def test_images_of_one_answer_in_a_file_of_many(tmp_path: Path) -> None:
    write_files(tmp_path, {"test.bson": bson.encode({"_id": 3, "imgs": [{"picture": b"x"}, {"picture": b"y"}]}),
                           "sample_submission.csv": "id,label\n3,0\n9,0\n"})
    items = competition_of(test={"source": {"kind": "bson", "file": "test.bson"}, "id": "{_id}.{picture}",
                                 "image": "{split}.bson/{offset}.{picture}", "answer": "{_id}"},
                           images={"reader": "bson"}).test(tmp_path)
    assert items.ids == ["3.0", "3.1", "9"] and items.answer == ["3", "3", "9"]
    assert items.images[:2] == [tmp_path / "test.bson/0.0", tmp_path / "test.bson/0.1"]
    assert items.notes == [f"{tmp_path / 'test.bson'}: 1 images of the 2 that sample_submission.csv asks for are "
                           "missing, such as '9'; their rows get the prior"]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "bson", None)
    with pytest.raises(DataError, match="a.bson: to read it, the package 'pymongo' is needed; install it with `pip in"):
        read_bson_table(tmp_path, "train", "a.bson")
