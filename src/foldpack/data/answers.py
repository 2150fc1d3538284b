"""What is said of items, before it becomes the text of a submission: names, or numbers under columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldpack.data.rows import Rows


@dataclass(frozen=True, eq=False)
class Answers:
    """One answer an item: names in the order in which they are said, a row of numbers, or any number of objects."""

    names: list[list[str]] | None = None
    numbers: np.ndarray | None = None  # (n, m) float32, or int64 grades
    objects: Rows | None = None  # `box` (N, 4) float32 xyxy, `label` (N,) int, `score` (N,), `mask`: `data.run_lengths`
    columns: Sequence[str] = ()  # what each of the m numbers is of; all classes, of names and of the labels of objects


def number_texts(numbers: np.ndarray) -> list[str]:
    """(n,) float32 or int64 -> text that is read back as the same number."""
    return [f"{value:.9g}" for value in numbers.tolist()]
