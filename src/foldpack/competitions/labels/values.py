"""Labels that are numbers."""

from __future__ import annotations

import re

import numpy as np

from foldpack.competitions.labels.truth import Source, Truth
from foldpack.errors import DataError
from foldpack.settings.label_kinds import ValueLabels

DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?")


def value_truth(labels: ValueLabels, source: Source) -> Truth:
    """Numbers, a column each. targets: (n, T) float64. Raises DataError for what is no finite number, and for one
    beyond the range."""
    targets = np.empty((len(source.items.ids), len(labels.columns)))
    written: dict[str, list[str]] = {}
    notes: list[str] = []
    low, high = labels.range or (-np.inf, np.inf)
    for place, column in enumerate(labels.columns):
        written[column], notes = source.cells(column)
        source.require(written[column], column)
        for item, cell in enumerate(written[column]):
            value = number_of(cell)
            if value is None:
                why = "is a date, and no number" if DATE.fullmatch(cell) else "is no finite number"
                raise DataError(f"{source.where(item)}: {column} '{cell}' {why}; name columns of numbers in "
                                "labels.columns, or mend the row")
            if not low <= value <= high:
                raise DataError(f"{source.where(item)}: {column} is {cell}; allowed: {low:g} to {high:g}, as "
                                "labels.range says")
            targets[item, place] = value
    return Truth(targets, labels.columns, written, notes=notes)


def number_of(cell: str) -> float | None:
    """The finite number that a cell is; None where it is none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in cell else None
