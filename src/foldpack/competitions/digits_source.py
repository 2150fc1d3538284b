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
from foldpack.competitions.image_table import read_table
from foldpack.files import write_atomic

SIDE = 32  # pixels; the originals have 8
TEST_SHARE = 0.2
SEED = 0


def digit_png(grid: np.ndarray) -> bytes:
    """(8, 8) float in [0, 16] -> a grey PNG of 32x32."""
    grey = Image.fromarray((grid * (255 / 16)).round().astype(np.uint8))
    buffer = io.BytesIO()
    grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()


def write_digits(root: Path, answers: Path, count: int | None = None) -> None:
    """Write `root/{train,test}/*.png`, train.csv and sample_submission.csv; the test labels go to `answers`.

    count: take only the first so many digits (at least 100), to be quick. The same bytes at every call; images that
    are there already are left as they are.
    """
    digits = load_digits()
    labels = digits.target[:count]
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=SEED, stratify=labels)
    train, test = np.sort(train), np.sort(test)
    ids = [f"digit_{row:04d}" for row in range(len(labels))]
    for folder, rows in ((DIGITS.train_folder, train), (DIGITS.test_folder, test)):
        for row in rows:
            path = root / folder / f"{ids[row]}{DIGITS.suffix}"
            if not path.exists():
                write_atomic(path, digit_png(digits.images[row]))
    for path, rows, column in (
        (root / DIGITS.train_csv, train, labels[train]),
        (root / DIGITS.sample_csv, test, np.zeros(len(test), dtype=int)),
        (answers, test, labels[test]),
    ):
        table = pd.DataFrame({DIGITS.id_column: [ids[row] for row in rows], DIGITS.label_column: column})
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def share_right(submission: Path, answers: Path) -> float:
    """Accuracy of a digits submission against the labels that were held out. Raises DataError."""
    columns = [DIGITS.id_column, DIGITS.label_column]
    joined = pd.merge(read_table(submission, columns), read_table(answers, columns), on=DIGITS.id_column,
                      suffixes=("", "_true"), how="right")
    return float((joined[DIGITS.label_column] == joined[f"{DIGITS.label_column}_true"]).mean())
