"""Made-up competitions of boxes, points and masks, each on disk as a real one was."""

from __future__ import annotations

import numpy as np
import pandas as pd
from shapes_dicom import save_dicom
from shapes_kit import Made, box_mask, run_lengths, scene

CODES = ("U+3042", "U+3044", "U+3046", "U+4E00")


def some(made: Made, most: int, fewest: int = 1) -> list[int]:
    """Some different numbers below `most`."""
    return made.dice.permutation(most)[: int(made.dice.integers(fewest, most + 1))].tolist()


def pages(made: Made) -> pd.DataFrame:
    """Boxes as text in one cell, none on some pages; points are asked for; the book stands in the id."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, _ in made.items(2):
        item = f"book{number % 3}-{number + 300 * (split == 'test'):04d}"
        ks = [] if number % 7 == 3 else some(made, 4)
        pixels, boxes = scene(made.dice, ks, 4)
        made.image(f"{split}_images/{item}.jpg", pixels)
        pairs = list(zip(ks, boxes, strict=True))
        rows[split].append((item, " ".join(f"{CODES[k]} {x} {y} {w} {h}" for k, (x, y, w, h) in pairs),
                            " ".join(f"{CODES[k]} {x + w // 2} {y + h // 2}" for k, (x, y, w, h) in pairs)))
    made.table("train.csv", [{"image_id": item, "labels": text} for item, text, _ in rows["train"]])
    made.table("unicode_translation.csv", [{"Unicode": code, "char": chr(int(code[2:], 16))} for code in CODES])
    perfect = pd.DataFrame([{"image_id": item, "labels": points} for item, _, points in rows["test"]])
    return made.sample(perfect, labels="U+003F 1 1")


def boxes_in_columns(made: Made) -> pd.DataFrame:
    """DICOMs; a row a box and rater; a class that stands for no box, without coordinates; text asked for."""
    names = ("Nodule", "Effusion", "No finding")
    rows: dict[str, list] = {"train": [], "test": []}
    answers = []
    for split, number, _ in made.items(2):
        item, ks = made.name(), [] if number % 3 == 1 else some(made, 2)
        pixels, boxes = scene(made.dice, ks, 2)
        save_dicom(made.path(f"{split}/{item}.dicom"), pixels[..., 0].astype(np.uint16) * 16, number % 4 == 3)
        found = [(names[k], k, x, y, x + w, y + h) for k, (x, y, w, h) in zip(ks, boxes, strict=True)]
        for rater in ("R1", "R2"):
            for name, k, *corners in found or [(names[2], 2, "", "", "", "")]:
                rows[split].append({"image_id": item, "class_name": name, "class_id": k, "rad_id": rater,
                                    **dict(zip(("x_min", "y_min", "x_max", "y_max"), corners, strict=True))})
        if split == "test":
            text = " ".join(f"{k} 1.0 {x0} {y0} {x1} {y1}" for _, k, x0, y0, x1, y1 in found) or "2 1.0 0 0 1 1"
            answers.append({"image_id": item, "PredictionString": text})
    made.table("train.csv", rows["train"])
    return made.sample(pd.DataFrame(answers), PredictionString="2 1 0 0 1 1")


def masks(made: Made) -> pd.DataFrame:
    """One mask an image as run lengths, empty for a third; the masks as images too; depths in another table."""
    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, _ in made.items(2):
        item, ks = made.name(), [] if number % 3 == 2 else [0]
        pixels, boxes = scene(made.dice, ks, 3, 51, 51)
        mask = box_mask(boxes, 51, 51)
        made.image(f"{split}/images/{item}.png", pixels)
        if split == "train":
            made.image(f"train/masks/{item}.png", mask.astype(np.uint16) * 65535)
        rows[split].append({"id": item, "rle_mask": run_lengths(mask)})
    made.table("train.csv", rows["train"])
    made.table("depths.csv", [{"id": row["id"], "z": 100 + place}
                              for place, row in enumerate([*rows["train"], *rows["test"]])])
    return made.sample(pd.DataFrame(rows["test"]), rle_mask="1 1")


def masks_by_class(made: Made) -> pd.DataFrame:
    """16-bit slices in folders of cases and days, their size in the file name; a row an image and class."""
    organs, rows = ("large_bowel", "small_bowel", "stomach"), {"train": [], "test": []}
    for split, number, _ in made.items(2):
        day, piece = divmod(number, 5)
        case = f"case{2 + day // 2 + 100 * (split == 'test')}"
        ks = [] if piece == 0 else some(made, 3)
        pixels, boxes = scene(made.dice, ks, 3)
        made.image(f"{split}/{case}/{case}_day{day % 2}/scans/slice_{piece + 1:04d}_80_64_1.50_1.50.png",
                   pixels.mean(axis=2).astype(np.uint16) * 16)
        held = {k: run_lengths(box_mask([box], 64, 80)) for k, box in zip(ks, boxes, strict=True)}
        rows[split] += [{"id": f"{case}_day{day % 2}_slice_{piece + 1:04d}", "class": organ,
                         "segmentation": held.get(k, "")} for k, organ in enumerate(organs)]
    made.table("train.csv", rows["train"])
    made.table("test.csv", [{"id": row["id"], "class": row["class"]} for row in rows["test"]])
    perfect = pd.DataFrame(rows["test"]).rename(columns={"segmentation": "predicted"})
    return made.sample(perfect, predicted="1 1 5 2")


def masks_in_tiffs(made: Made) -> pd.DataFrame:
    """TIFFs, some channels first; one mask an image under another name in the answer; polygons beside them."""
    import tifffile

    rows: dict[str, list] = {"train": [], "test": []}
    for split, number, _ in made.items(2):
        item, (pixels, boxes) = made.name(), scene(made.dice, [0, 0], 3)
        shown = np.moveaxis(pixels, 2, 0) if number % 3 == 2 else pixels
        tifffile.imwrite(made.path(f"{split}/{item}.tiff"), shown, photometric="rgb")
        made.json(f"{split}/{item}-structure.json", [{"type": "Feature", "id": "x"}])
        rows[split].append({"id": item, "encoding": run_lengths(box_mask(boxes, 64, 80))})
    made.table("train.csv", rows["train"])
    made.table("dataset_information.csv", [{"image_file": f"{row['id']}.tiff", "width_pixels": 80, "height_pixels": 64}
                                           for row in [*rows["train"], *rows["test"]]])
    perfect = pd.DataFrame(rows["test"]).rename(columns={"encoding": "predicted"})
    return made.sample(perfect, predicted="")


def objects(made: Made) -> pd.DataFrame:
    """A row an object; a class with attributes in one cell; answers are masks at 128 x 128."""
    rows: dict[str, list] = {"train": [], "test": []}
    grid = np.arange(128)
    for split, number, _ in made.items(2):
        item, ks = f"{made.name()}.jpg", some(made, 3)
        pixels, boxes = scene(made.dice, ks, 3)
        made.image(f"{split}/{item}", pixels)
        for k, box in zip(ks, boxes, strict=True):
            mask = box_mask([box], 64, 80)
            seen = mask if split == "train" else mask[grid[:, None] * 64 // 128, grid * 80 // 128]
            rows[split].append({"ImageId": item, "EncodedPixels": run_lengths(seen), "Height": 64, "Width": 80,
                                "ClassId": f"{10 * k}{'_28_77' if k == number % 3 == 0 and split == 'train' else ''}"})
    made.table("train.csv", rows["train"])
    perfect = pd.DataFrame(rows["test"])[["ImageId", "EncodedPixels", "ClassId"]]
    first = perfect.drop_duplicates("ImageId")
    first.assign(EncodedPixels="1 1", ClassId="23").to_csv(made.root / "sample_submission.csv", index=False)
    return perfect
