"""Write scikit-learn's 1,797 handwritten digits as a competition: images, CSVs, and the answers beside it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from foldpack.competitions.digits import DIGITS
from foldpack.competitions.image_table import ImageTable, read_table
from foldpack.competitions.label_cells import split_labels
from foldpack.files import write_atomic
from foldpack.metrics.regression import rmse

SIDE = 32  # pixels; the originals have 8
TEST_SHARE = 0.2
SEED = 0
FIRST_NEW = 8  # from this digit on they are like no other, where a competition has that
PLACES = 5  # of a ranking


def digit_png(grid: np.ndarray) -> bytes:
    """(8, 8) float in [0, 16] -> a grey PNG of 32x32."""
    grey = Image.fromarray((grid * (255 / 16)).round().astype(np.uint8))
    buffer = io.BytesIO()
    grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()


def write_digits(root: Path, answers: Path, count: int | None = None, layout: ImageTable = DIGITS) -> None:
    """Write `root/{train,test}/*.png`, train.csv and sample_submission.csv; the test labels go to `answers`.

    count: take only the first so many digits (at least 100), to be quick. layout: which of the digits competitions. The
    same bytes at every call; images that are there already are left as they are.
    """
    digits = load_digits()
    classes = digits.target[:count]
    train, test = train_test_split(np.arange(len(classes)), test_size=TEST_SHARE, random_state=SEED, stratify=classes)
    train, test = np.sort(train), np.sort(test)
    ids = [f"digit_{row:04d}" for row in range(len(classes))]
    for folder, rows in ((layout.train_folder, train), (layout.test_folder, test)):
        for row in rows:
            path = root / folder / f"{ids[row]}{layout.suffix}"
            if not path.exists():
                write_atomic(path, digit_png(digits.images[row]))
    labels = np.array([label_of(digit, layout) for digit in classes.tolist()])
    for path, rows, column in (
        (root / layout.train_csv, train, labels[train]),
        (root / layout.sample_csv, test, np.full(len(test), layout.none_class or "0")),
        (answers, test, labels[test]),
    ):
        table = pd.DataFrame({layout.id_column: [ids[row] for row in rows], layout.label_column: column})
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def label_of(digit: int, layout: ImageTable) -> str:
    """What a digits competition calls a digit."""
    return layout.none_class if layout.none_class is not None and digit >= FIRST_NEW else str(digit)


def digits_score(submission: Path, answers: Path, layout: ImageTable = DIGITS) -> tuple[str, float]:
    """(name, value) of a digits submission's score against the labels that were held out. Raises DataError."""
    columns = [layout.id_column, layout.label_column]
    joined = pd.merge(read_table(submission, columns), read_table(answers, columns), on=layout.id_column,
                      suffixes=("", "_true"), how="right")
    given, true = joined[layout.label_column].fillna(""), joined[f"{layout.label_column}_true"]
    if layout.task == "values":
        return "rmse", rmse(true.to_numpy(float), pd.to_numeric(given, errors="coerce").to_numpy(float))
    if layout.task == "ranking":
        lists = [split_labels(text, layout.joiner)[:PLACES] for text in given]
        return "map5", float(np.mean([1 / (words.index(label) + 1) if label in words else 0.0
                                      for words, label in zip(lists, true, strict=True)]))
    return "accuracy", float((given == true).mean())
