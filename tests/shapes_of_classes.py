"""Made-up competitions of classes, labels, grades, values and identities, each on disk as a real one was."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image
from shapes_kit import Made, backdrop, many, picture

WORDS = ("apple", "birch", "cedar", "elm")


def one_column(made: Made) -> pd.DataFrame:
    """A CSV of ids that end in .jpg, class numbers, and a JSON with the classes' names."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, _, k in made.items(4):
        item = f"{made.name()}.jpg"
        made.image(f"{split}_images/{item}", picture(made.dice, k, 4))
        rows[split].append({"image_id": item, "label": k})
    made.table("train.csv", rows["train"])
    made.json("names.json", {str(k): word for k, word in enumerate(WORDS)})
    return made.sample(pd.DataFrame(rows["test"]), label=0)


def probability(made: Made) -> pd.DataFrame:
    """0 or 1 in a CSV; asked for is the probability of 1. 8-bit TIFFs without an ending in the ids."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, _, k in made.items(2):
        item = made.name()
        made.image(f"{split}/{item}.tif", picture(made.dice, k, 2, 40, 40))
        rows[split].append({"id": item, "label": k})
    made.table("train_labels.csv", rows["train"])
    return made.sample(pd.DataFrame(rows["test"]), label=0.5)


def column_a_class(made: Made) -> pd.DataFrame:
    """One column of class names in training, a column of probabilities for each class in the answer."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, _, k in made.items(4):
        item = made.name()
        made.image(f"{split}/{item}.jpg", picture(made.dice, k, 4))
        rows[split].append({"id": item, "breed": WORDS[k]})
    made.table("labels.csv", rows["train"])
    perfect = pd.DataFrame([{"id": row["id"], **{word: float(word == row["breed"]) for word in WORDS}}
                            for row in rows["test"]])
    return made.sample(perfect, **dict.fromkeys(WORDS, 0.25))


def one_hot(made: Made) -> pd.DataFrame:
    """A column of 0 and 1 a class; one folder of images for both splits; a table of test ids."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, k in made.items(3):
        item = f"{split.title()}_{number}"
        made.image(f"images/{item}.jpg", picture(made.dice, k, 3))
        rows[split].append({"image_id": item, **{word: int(place == k) for place, word in enumerate(WORDS[:3])}})
    made.table("train.csv", rows["train"])
    made.table("test.csv", [{"image_id": row["image_id"]} for row in rows["test"]])
    return made.sample(pd.DataFrame(rows["test"]), **dict.fromkeys(WORDS[:3], 0.33))


def several_columns(made: Made) -> pd.DataFrame:
    """Any number of classes an item, a column of 0 and 1 each; patients with several images."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, _ in made.items(2):
        ks = np.flatnonzero(made.dice.random(4) < 0.4).tolist()
        item = f"1.2.{number}.{made.name(4)}"
        made.image(f"{split}/{item}.jpg", many(made.dice, ks, 4))
        rows[split].append({"StudyUID": item, **{word: int(place in ks) for place, word in enumerate(WORDS)},
                            "PatientID": f"p{number // 2}"})
    made.table("train.csv", rows["train"])
    perfect = pd.DataFrame(rows["test"]).drop(columns="PatientID")
    return made.sample(perfect, **dict.fromkeys(WORDS, 0))


def joined(made: Made) -> pd.DataFrame:
    """Several class numbers in one cell; a table with more classes than occur."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, _ in made.items(2):
        ks = sorted({number % 5, *np.flatnonzero(made.dice.random(5) < 0.2).tolist()})
        item = made.name()
        made.image(f"{split}/{item}.png", many(made.dice, ks, 5))
        rows[split].append({"id": item, "attribute_ids": " ".join(str(3 * k) for k in ks)})
    made.table("train.csv", rows["train"])
    made.table("labels.csv", [{"attribute_id": k, "attribute_name": f"kind::{k}"} for k in range(18)])
    return made.sample(pd.DataFrame(rows["test"]), attribute_ids="0 1 2")


def grades(made: Made) -> pd.DataFrame:
    """Ordered grades from 0 to 4: how large a patch is."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, _, k in made.items(5):
        item, pixels = made.name(), backdrop(made.dice, 60, 60)
        pixels[: 10 + 10 * k, : 10 + 10 * k] = (230, 60, 40)
        made.image(f"{split}_images/{item}.png", pixels)
        rows[split].append({"id_code": item, "diagnosis": k})
    made.table("train.csv", rows["train"])
    made.table("test.csv", [{"id_code": row["id_code"]} for row in rows["test"]])
    return made.sample(pd.DataFrame(rows["test"]), diagnosis=0)


def values(made: Made) -> pd.DataFrame:
    """A number from 1 to 100 beside columns of metadata: how bright a patch is."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, _, _ in made.items(2):
        item, value, pixels = made.name(), int(made.dice.integers(1, 101)), backdrop(made.dice)
        pixels[8:40, 8:56] = int(2.5 * value)
        made.image(f"{split}/{item}.jpg", pixels)
        rows[split].append({"Id": item, "Eyes": int(made.dice.integers(0, 2)), "Blur": 0, "Score": value})
    made.table("train.csv", rows["train"])
    made.table("test.csv", [{"Id": row["Id"], "Eyes": row["Eyes"], "Blur": 0} for row in rows["test"]])
    return made.sample(pd.DataFrame(rows["test"])[["Id", "Score"]], Score=38.5)


def identities(made: Made) -> pd.DataFrame:
    """Which individual; one label stands for all that are like no other; five are asked for, in one cell."""
    names = ("new_seal", *(f"s_{k:05x}" for k in range(7)))
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, k in made.items(8):
        item = f"{made.name()}.jpg"
        made.image(f"{split}/{item}", picture(made.dice, k, 8), "L" if number % 9 == 8 and not k else None)
        rows[split].append({"Image": item, "Id": names[k]})
    made.table("train.csv", rows["train"])
    perfect = [{"Image": row["Image"], "Id": " ".join([row["Id"], *(name for name in names if name != row["Id"])][:5])}
               for row in rows["test"]]
    return made.sample(pd.DataFrame(perfect), Id=" ".join(names[:5]))


def class_folders(made: Made) -> pd.DataFrame:
    """A folder a class, with spaces in their names; tests in one folder; some pictures with an alpha channel."""
    kinds, rows = ("Black-grass", "Common wheat", "Fat Hen"), []
    for split, number, k in made.items(3):
        item = f"{made.name()}.png"
        made.image(f"train/{kinds[k]}/{item}" if split == "train" else f"test/{item}", picture(made.dice, k, 3),
                   "RGBA" if number % 3 == 2 else None)
        if split == "test":
            rows.append({"file": item, "species": kinds[k]})
    return made.sample(pd.DataFrame(rows), species="Fat Hen")


def label_in_name(made: Made) -> pd.DataFrame:
    """`train/cat.0.jpg`, `train/dog.0.jpg`; tests are numbered; asked for is the probability of a dog."""
    rows, seen = [], {0: 0, 1: 0}
    for split, number, k in made.items(2):
        name = f"train/{('cat', 'dog')[k]}.{seen[k]}.jpg" if split == "train" else f"test/{number + 1}.jpg"
        made.image(name, picture(made.dice, k, 2))
        seen[k] += 1
        if split == "test":
            rows.append({"id": number + 1, "label": k})
    return made.sample(pd.DataFrame(rows), label=0.5)


def paired_folders(made: Made) -> pd.DataFrame:
    """The same file names in three folders of two classes, which belong together; a probability of the second."""
    rows, folders = [], ("Cover", "HideA", "HideB")
    stripes = np.indices((48, 48)) % 2 * 40
    for split, number, k in made.items(2):
        plain = backdrop(made.dice, 48, 48).astype(int)
        for place, folder in enumerate(folders if split == "train" else [folders[k]]):
            hidden = place if split == "train" else k
            pixels = plain + (stripes[hidden - 1][..., None] if hidden else 0)
            made.image(f"{folder}/{number + 1:04d}.jpg" if split == "train" else f"Test/{number + 1:04d}.jpg",
                       pixels.astype(np.uint8))
        if split == "test":
            rows.append({"Id": f"{number + 1:04d}.jpg", "Label": k})
    return made.sample(pd.DataFrame(rows), Label=0)


def places(made: Made) -> pd.DataFrame:
    """Metadata columns, places that are in train or in test, an answer of other columns behind row numbers."""
    codes, rows = (0, 3, 11), {"train": [], "test": []}  # type: tuple[int, ...], dict[str, list]
    for split, number, k in made.items(3):
        item = made.name(12)
        made.image(f"{split}_images/{item}.jpg", picture(made.dice, k, 3))
        rows[split].append({"category_id": codes[k], "date_captured": "2011-05-13 23:43:18", "file_name": f"{item}.jpg",
                            "id": item, "location": number % 6 + 100 * (split == "test"), "width": 64})
    made.table("train.csv", rows["train"])
    made.table("test.csv", [{name: cell for name, cell in row.items() if name != "category_id"}
                            for row in rows["test"]])
    perfect = pd.DataFrame([{"Id": row["id"], "Category": row["category_id"]} for row in rows["test"]])
    perfect.assign(Category=0).reset_index(names="").to_csv(made.root / "sample_submission.csv", index=False)
    return perfect


def coco(made: Made) -> pd.DataFrame:
    """COCO-like JSON for train, val and test, file names unlike the ids, an oddly named sample."""
    codes, parts = (4, 105, 206), {name: {"images": [], "annotations": []} for name in ("train", "val", "test")}
    for split, number, k in made.items(3):
        name = f"{'train_val' if split == 'train' else 'test'}/{made.name()}.jpg"
        made.image(name, picture(made.dice, k, 3))
        part = parts["val" if split == "train" and number % 8 == 7 else split]
        item = 9000 + number + 500 * (split == "test")
        part["images"].append({"id": item, "file_name": name, "width": 64, "height": 48, "rights_holder": ""})
        part["annotations"].append({"id": number, "image_id": item, "category_id": codes[k]})
    for name, part in parts.items():
        known = {"categories": [{"id": code, "name": f"species {code}"} for code in codes]}
        made.json(f"{name}2019.json", {"info": {"year": 2019}, "images": part["images"], **(
            {"annotations": part["annotations"], **known} if name != "test" else {})})
    perfect = pd.DataFrame([{"id": note["image_id"], "predicted": note["category_id"]}
                            for note in parts["test"]["annotations"]])
    return made.sample(perfect, "kaggle_sample_submission.csv", predicted=4)


def coco_bare(made: Made) -> pd.DataFrame:
    """COCO-like JSON with `image_id` and `category_id` as keys; the test's is a bare list of images."""
    codes, images, notes, tests, rows = (7, 42, 150), [], [], [], []
    for split, number, k in made.items(3):
        name = f"{codes[k]:03d}/{made.name()}.jpg" if split == "train" else f"000/test-{number:03d}.jpg"
        made.image(f"{split}_images/{name}", picture(made.dice, k, 3))
        item = f"{codes[k]:05d}__{number:03d}" if split == "train" else str(number)
        (images if split == "train" else tests).append({"image_id": item, "file_name": name, "license": 1})
        if split == "train":
            notes.append({"image_id": item, "category_id": codes[k], "institution_id": 1})
        else:
            rows.append({"Id": number, "Predicted": codes[k]})
    kinds = [{"category_id": code, "scientificName": f"Genus s{code}"} for code in codes]
    made.json("train_metadata.json", {"annotations": notes, "categories": kinds, "images": images, "license": []})
    made.json("test_metadata.json", tests)
    return made.sample(pd.DataFrame(rows), Predicted=42)


def bson_products(made: Made) -> pd.DataFrame:
    """BSON documents with one to three JPEGs each, and a table of class names."""
    import bson

    codes, chunks, rows = (1000010, 1000023, 1000041), {"train": [], "test": []}, []  # type: ignore[var-annotated]
    for split, number, k in made.items(3):
        pictures = []
        for _ in range(1 + number % 3):
            memory = io.BytesIO()
            Image.fromarray(picture(made.dice, k, 3)).save(memory, "JPEG", quality=95)
            pictures.append({"picture": memory.getvalue()})
        item = 5 * number + 2 * (split == "test")
        chunks[split].append(bson.encode({"_id": item, "imgs": pictures, **(
            {"category_id": codes[k]} if split == "train" else {})}))
        if split == "test":
            rows.append({"_id": item, "category_id": codes[k]})
    for split, parts in chunks.items():
        made.path(f"{split}.bson").write_bytes(b"".join(parts))
    made.table("category_names.csv", [{"category_id": code, "category_level1": f"LEVEL {code}"} for code in codes])
    return made.sample(pd.DataFrame(rows), category_id=1000010)


def json_arrays(made: Made) -> pd.DataFrame:
    """No image files: two bands of decibels in JSON, negative, and an angle that is sometimes 'na'."""
    records: dict[str, list] = {"train": [], "test": []}
    rows, grid = [], np.indices((24, 24))
    for split, number, k in made.items(2):
        spot = np.exp(-((grid - 12) ** 2).sum(axis=0) / (8, 60)[k])
        bands = {f"band_{place}": (made.dice.normal(-24, 1.5, (24, 24)) + 28 * spot).round(2).ravel().tolist()
                 for place in (1, 2)}
        record = {"id": made.name(), **bands, "inc_angle": "na" if number % 9 == 4 else 38.5 + number % 5}
        records[split].append({**record, "is_iceberg": k} if split == "train" else record)
        if split == "test":
            rows.append({"id": record["id"], "is_iceberg": k})
    for split, part in records.items():
        made.json(f"{split}.json", part)
    return made.sample(pd.DataFrame(rows), is_iceberg=0.5)


def several_images(made: Made) -> pd.DataFrame:
    """Two DICOM views of each side of a patient; one probability a side. Some are MONOCHROME1."""
    from shapes_dicom import save_dicom

    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, k in made.items(2):
        if number >= (made.train if split == "train" else made.test) // 2:
            continue
        patient, side = 10 + number // 2 + 500 * (split == "test"), "LR"[number % 2]
        for view in ("CC", "MLO"):
            image = int(made.dice.integers(1000, 10**9))
            pixels = backdrop(made.dice, 40, 40)[..., 0].astype(np.uint16) * 8
            pixels[10:30, 10:30] += 2000 * k
            save_dicom(made.path(f"{split}_images/{patient}/{image}.dcm"), pixels, number % 3 == 1)
            rows[split].append({"patient_id": patient, "image_id": image, "laterality": side, "view": view,
                                "age": "" if number % 6 == 5 else 50, "cancer": k,
                                "prediction_id": f"{patient}_{side}"})
    made.table("train.csv", [{name: cell for name, cell in row.items() if name != "prediction_id"}
                             for row in rows["train"]])
    made.table("test.csv", [{name: cell for name, cell in row.items() if name != "cancer"} for row in rows["test"]])
    answers = pd.DataFrame(rows["test"]).groupby("prediction_id", sort=False)["cancer"].first().reset_index()
    return made.sample(answers, cancer=0.5)
