"""Other mixtures of the shapes: labels in paths, JSON below folders, two formats of an image, nameless folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shapes_kit import Made, picture

from foldpack.competitions.training_items import make_competition
from foldpack.recognise.findings import Findings
from foldpack.recognise.recognise import recognise

WORDS = ("blast", "hispa", "normal", "tungro")


def rows_of(made: Made, place: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Images at a template over split, name, number, k and word, and a row for each."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for split, number, k in made.items(4):
        row = {"split": split, "name": made.name(), "number": number + 900 * (split == "test"), "k": k,
               "word": WORDS[k]}
        for one in place.split("; "):
            made.image(one.format(**row), picture(made.dice, k, 4))
        rows[split].append(row)
    return rows


def label_in_path(made: Made) -> dict[str, Any]:
    """The class is a folder of training images, and a column."""
    rows = rows_of(made, "kept/{split}/{name}.jpg")
    for row in rows["train"]:
        target = made.path(f"train_images/{row['word']}/{row['name']}.jpg")
        (made.root / f"kept/train/{row['name']}.jpg").rename(target)
    (made.root / "kept/test").rename(made.root / "test_images")
    made.table("train.csv", [{"image_id": f"{row['name']}.jpg", "label": row["word"], "variety": "ADT45",
                              "age": 40 + row["k"]} for row in rows["train"]])
    made.table("sample_submission.csv", [{"image_id": f"{row['name']}.jpg", "label": ""} for row in rows["test"]])
    return {"train": {"image": "train_images/{label}/{image_id}"}, "test": {"image": "test_images/{image_id}"},
            "labels": {"kind": "class", "column": "label"}, "answer": {"kind": "class"}}


def chain_in_path(made: Made) -> dict[str, Any]:
    """A folder that a column names, numbers as identities, five of them asked."""
    rows = rows_of(made, "{split}_images/{name}.jpg")
    for row in rows["train"]:
        target = made.path(f"train_images/{row['k'] % 2}/{row['name']}.jpg")
        (made.root / f"train_images/{row['name']}.jpg").rename(target)
    made.table("train.csv", [{"image": f"{row['name']}.jpg", "chain": row["k"] % 2, "hotel_id": 18807 + 5 * row["k"],
                              "timestamp": "2018-04-08 17:58:12"} for row in rows["train"]])
    made.table("sample_submission.csv", [{"image": f"{row['name']}.jpg", "hotel_id": "36363 18812 64314"}
                                         for row in rows["test"]])
    return {"train": {"image": "train_images/{chain}/{image}"}, "labels": {"kind": "identity", "column": "hotel_id"},
            "answer": {"kind": "ranking", "k": 3}}


def json_in_folders(made: Made) -> dict[str, Any]:
    """COCO's JSON in the folder of its images, not UTF-8, next to what another model found."""
    rows = rows_of(made, "nybg/{split}/images/{number}.jpg")
    for split, told in rows.items():
        images = [{"id": row["number"], "file_name": f"images/{row['number']}.jpg", "location": row["number"] % 5}
                  for row in told]
        known = {"annotations": [{"id": place, "image_id": row["number"], "category_id": row["k"]}
                                 for place, row in enumerate(told)],
                 "categories": [{"id": k, "name": word, "family": "Fl\u00f3ra"} for k, word in enumerate(WORDS)]}
        made.json(f"nybg/{split}/metadata.json", {"images": images, **(known if split == "train" else {})})
    path = made.root / "nybg/train/metadata.json"
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    found = [{"id": row["number"], "detections": [{"conf": 0.9}]} for row in [*rows["train"], *rows["test"]]]
    made.json("detector_results.json", {"images": found, "detection_categories": {"1": "animal"}})
    made.table("sample_submission.csv", [{"Id": row["number"], "Predicted": 0} for row in rows["test"]])
    source = {"kind": "coco", "file": "nybg/train/metadata.json", "encoding": "latin-1"}
    return {"train": {"source": source, "group": "{location}", "image": "nybg/train/{file_name}"},
            "test": {"image": "nybg/test/{file_name}"},
            "labels": {"kind": "class", "column": "category_id"}, "answer": {"kind": "class", "column": "Predicted"}}


def two_formats(made: Made) -> dict[str, Any]:
    """Each image twice, metadata beside the label, several columns that say the same of it."""
    rows = rows_of(made, "jpeg/{split}/{name}.jpg; {split}/{name}.tif")
    made.table("train.csv", [{"image_name": row["name"], "patient_id": f"IP_{place // 3}", "sex": "male",
                              "diagnosis": "unknown", "benign_malignant": ("benign", "malignant")[row["k"] // 2],
                              "target": row["k"] // 2} for place, row in enumerate(rows["train"])])
    made.table("test.csv", [{"image_name": row["name"], "patient_id": f"IP_9{place // 3}", "sex": "male"}
                            for place, row in enumerate(rows["test"])])
    made.table("sample_submission.csv", [{"image_name": row["name"], "target": 0} for row in rows["test"]])
    return {"train": {"image": "jpeg/train/{image_name}.jpg", "group": "{patient_id}"},
            "test": {"image": "jpeg/test/{image_name}.jpg"}, "labels": {"kind": "class", "column": "target"},
            "answer": {"kind": "probability", "of": "1"}}


def numbers_beside(made: Made) -> dict[str, Any]:
    """Many columns of features, one folder for both splits, ids that are numbers."""
    rows = rows_of(made, "images/{number}.jpg")
    made.table("train.csv", [{"id": row["number"], "species": row["word"], "margin1": 0.01 * row["k"], "texture64": 0.5}
                             for row in rows["train"]])
    made.table("test.csv", [{"id": row["number"], "margin1": 0.01, "texture64": 0.5} for row in rows["test"]])
    made.table("sample_submission.csv", [{"id": row["number"], **dict.fromkeys(WORDS, 0.25)} for row in rows["test"]])
    return {"train": {"image": "images/{id}.jpg"}, "test": {"image": "images/{id}.jpg"},
            "labels": {"kind": "class", "column": "species", "classes": "answer"},
            "answer": {"kind": "probabilities", "sums_to_1": True}}


def studies(made: Made) -> dict[str, Any]:
    """Folders of a study, which a column names, and of a series, which nothing names."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for split, number, k in made.items(4):
        name, study = made.name(), f"study{number // 2}{split}"
        made.image(f"{split}/{study}/{made.name()}/{name}.png", picture(made.dice, k, 4))
        rows[split].append({"id": f"{name}_image", "label": WORDS[k], "StudyInstanceUID": study})
    made.table("train_image_level.csv", rows["train"])
    made.table("sample_submission.csv", [{"id": row["id"], "label": "blast"} for row in rows["test"]])
    return {"train": {"image": "train/{StudyInstanceUID}/*/{image}.png", "group": "{StudyInstanceUID}",
                      "parse": {"id": "{image}_image"}},
            "test": {"image": "test/*/*/{image}.png", "parse": {"id": "{image}_image"}},
            "labels": {"kind": "class", "column": "label"}, "answer": {"kind": "class"}}


def levels(made: Made) -> dict[str, Any]:
    """The sample asks for images and for studies, in one column; only the first are files."""
    rows = rows_of(made, "{split}/{name}.png")
    made.table("train.csv", [{"id": f"{row['name']}_image", "label": f"opacity 1 {row['k']} 1 30 31"}
                             for row in rows["train"]])
    asked = [f"{row['name']}_image" for row in rows["test"]] + [f"s{place}_study" for place in range(8)]
    made.table("sample_submission.csv", [{"id": each, "PredictionString": "none 1 0 0 1 1"} for each in asked])
    return {"train": {"image": "train/{image}.png", "parse": {"id": "{image}_image"}},
            "test": {"image": "test/{name}.png", "parse": {"id": "{name}_{level}"}, "where": {"level": "image"}},
            "labels": {"kind": "boxes", "text": ["label", "score", "x_min", "y_min", "x_max", "y_max"]},
            "answer": {"kind": "boxes", "text": ["label", "score", "x_min", "y_min", "x_max", "y_max"]}}


def holds(part: Any, whole: Any) -> bool:
    """Whether all that is in one is in the other."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(value, whole[key]) for key, value in part.items())
    return bool(part == whole)


LAYOUTS = (label_in_path, chain_in_path, json_in_folders, two_formats, numbers_beside, studies, levels)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_another_layout_is_recognised(layout: Any, tmp_path: Path) -> None:
    expected = layout(Made(tmp_path / "data", 40, 16)) if (tmp_path / "data").mkdir() is None else {}
    config = recognise(tmp_path / "data", "other", "other", Findings()).config
    found = config.model_dump()
    for key, part in expected.items():
        assert holds(part, found[key]), (key, found[key])
    competition = make_competition(config)
    assert len(competition.train(tmp_path / "data").items) == 40
    assert sum(Path(image).is_file() for image in competition.test(tmp_path / "data").images) == 16


def test_a_csv_may_have_another_separator_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = Made(tmp_path / "data", 40, 16)
    rows = rows_of(made, "{split}/{name}.jpg")
    pd.DataFrame([{"id": row["name"], "label": f"fl\u00f3r {row['word']}"} for row in rows["train"]]).to_csv(
        made.root / "train.csv", sep=";", index=False, encoding="latin-1")
    made.table("sample_submission.csv", [{"id": row["name"], "label": "x"} for row in rows["test"]])
    source = recognise(made.root, "other", "other", Findings()).config.train.source
    assert source.model_dump() == {"kind": "csv", "file": "train.csv", "separator": ";", "encoding": "latin-1"}
