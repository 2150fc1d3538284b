"""Some of this module is in the first part, some is not."""

from __future__ import annotations

import json

import numpy as np

LIMIT = "# ======== no banner ========"


class Heavy:
    """Only main needs it."""

    limit = LIMIT

    def __init__(self, values: list[int]) -> None:
        self.values = np.array(values)

    def total(self) -> int:
        return int(self.values.sum())


def as_text(value: object) -> str:
    """A name of the first part below one of the second."""
    return json.dumps(value)
