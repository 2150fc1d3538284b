"""What is said of items, before it becomes the text of a submission: names, or numbers under columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Answers:
    """One answer an item: names in the order in which they are said, or a row of numbers."""

    names: list[list[str]] | None = None
    numbers: np.ndarray | None = None  # (n, m) float32, or int64 grades
    columns: Sequence[str] = ()  # what each of the m numbers is of


def number_texts(numbers: np.ndarray) -> list[str]:
    """(n,) float32 or int64 -> text that is read back as the same number."""
    return [f"{value:.9g}" for value in numbers.tolist()]
