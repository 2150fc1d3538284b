"""Write scikit-learn's 1,797 handwritten digits as a competition: images, CSVs, and the answers beside it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from foldpack.competitions.answer_table import read_answer_table
from foldpack.competitions.label_cells import split_labels
from foldpack.files import write_atomic
from foldpack.metrics.regression import rmse

SIDE = 32  # pixels; the originals have 8
TEST_SHARE = 0.2
SEED = 0
NONE_CLASS = {"digits-retrieval": "new"}  # by competition: what the digits are called that are like no other
FIRST_NEW = 8  # from this digit on they are like no other, where a competition has that
PLACES = 5  # of a ranking


def digit_png(grid: np.ndarray) -> bytes:
    """(8, 8) float in [0, 16] -> a grey PNG of 32x32."""
    grey = Image.fromarray((grid * (255 / 16)).round().astype(np.uint8))
    buffer = io.BytesIO()
    grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()


def write_digits(root: Path, answers: Path, count: int | None = None, name: str = "digits") -> None:
    """Write `root/{train,test}/*.png`, train.csv and sample_submission.csv; the test labels go to `answers`.

    count: take only the first so many digits (at least 100), to be quick. name: which of the digits competitions. The
    same bytes at every call; images that are there already are left as they are.
    """
    digits, none = load_digits(), NONE_CLASS.get(name)
    classes = digits.target[:count]
    train, test = train_test_split(np.arange(len(classes)), test_size=TEST_SHARE, random_state=SEED, stratify=classes)
    train, test = np.sort(train), np.sort(test)
    ids = [f"digit_{row:04d}" for row in range(len(classes))]
    for folder, rows in (("train", train), ("test", test)):
        for row in rows:
            path = root / folder / f"{ids[row]}.png"
            if not path.exists():
                write_atomic(path, digit_png(digits.images[row]))
    labels = np.array([none if none is not None and digit >= FIRST_NEW else str(digit) for digit in classes.tolist()])
    for path, rows, column in (
        (root / "train.csv", train, labels[train]),
        (root / "sample_submission.csv", test, np.full(len(test), none or "0")),
        (answers, test, labels[test]),
    ):
        table = pd.DataFrame({"id": [ids[row] for row in rows], "label": column})
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def digits_score(submission: Path, answers: Path, name: str = "digits") -> tuple[str, float]:
    """(metric, value) of a digits submission's score against the labels that were held out. Raises DataError."""
    said, truth = (read_answer_table(path, "id", ["label"]) for path in (submission, answers))
    cells = dict(zip(said.ids, said.column("label"), strict=True))
    given, true = [cells.get(item, "") for item in truth.ids], truth.column("label")
    if name == "digits-values":
        return "rmse", rmse(np.array(true, float), pd.to_numeric(pd.Series(given), errors="coerce").to_numpy(float))
    if name in NONE_CLASS:
        lists = [split_labels(text, None)[:PLACES] for text in given]
        return "map5", float(np.mean([1 / (words.index(label) + 1) if label in words else 0.0
                                      for words, label in zip(lists, true, strict=True)]))
    return "accuracy", float(np.mean(np.array(given) == np.array(true)))
