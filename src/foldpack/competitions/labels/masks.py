"""Labels that are masks, as run lengths in the cells of a column."""

from __future__ import annotations

import numpy as np

from foldpack.competitions.labels.truth import Source, Truth
from foldpack.data.rows import Rows
from foldpack.data.run_lengths import read_runs, turned_runs
from foldpack.errors import DataError
from foldpack.settings.label_kinds import MaskLabels


def mask_truth(labels: MaskLabels, source: Source) -> Truth:
    """Masks of any number an item; an empty cell is none. targets: (n, C) bool, which classes each has.

    rows: a row an item with `label` (N,) int32, the class; `size` (N, 2) int32, height and width in pixels, 0 where
    the image is not there; and `mask` (M, 2) int64 in `within`: the runs of each, as `data.run_lengths` has them.
    Raises DataError for a cell that is no mask, one that goes beyond its picture, and two of one class where rows are
    no objects.
    """
    table = source.items.table
    cells = table.column(labels.column, "labels: column")
    classes, told = ["mask"], ""
    words = ["mask"] * len(table)
    if labels.label is not None:
        words = [labels.map.get(word, word) for word in table.column(labels.label, "labels: column")]
        classes, told = source.classes(labels.classes, words, fewest=1)
    place = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((len(source.items.ids), len(classes)), dtype=bool)
    found: list[tuple[int, tuple[int, int], np.ndarray]] = []
    counts = []
    for item, rows in enumerate(source.items.rows):
        first: dict[str, int] = {}
        for row in rows:
            if words[row] not in place:
                raise DataError(source.strange(item, words[row], classes, told))
            if not labels.objects and row != first.setdefault(words[row], row):
                raise DataError(f"{table.where(row)}: id '{source.items.ids[item]}' has a mask of {words[row]} already "
                                f"in {table.where(first[words[row]])}; keep one of the two, or set labels.objects to "
                                "true")
        masks = [row for row in rows if cells[row].strip()]
        for row in masks:
            size = size_of(labels, source, item, row)
            found.append((place[words[row]], size, runs_in(labels, cells[row], size, table.where(row))))
            targets[item, place[words[row]]] = True
        counts.append(len(masks))
    columns = {"label": np.array([label for label, *_ in found], dtype=np.int32),
               "size": np.array([size for _, size, _ in found], dtype=np.int32).reshape(-1, 2),
               "mask": np.concatenate([np.zeros((0, 2), dtype=np.int64), *(runs for *_, runs in found)])}
    within = {"mask": np.cumsum([0, *(len(runs) for *_, runs in found)]).astype(np.int64)}
    written = [" ".join(name for name, has in zip(classes, row, strict=True) if has) for row in targets]
    starts = np.cumsum([0, *counts]).astype(np.int64)
    return Truth(targets, classes, {"label": written}, rows=Rows(columns, starts, within))


def size_of(labels: MaskLabels, source: Source, item: int, row: int) -> tuple[int, int]:
    """Height and width of the picture that a mask is of. Raises DataError for cells that are no such numbers."""
    if labels.size is None:
        return source.size(item)
    table = source.items.table
    words = [table.column(name, "labels.size: column")[row].removesuffix(".0") for name in labels.size]
    if strange := next((word for word in words if not word.isdecimal() or word == "0"), None):
        raise DataError(f"{table.where(row)}: {' and '.join(labels.size)} are '{' '.join(words)}', and '{strange}' is "
                        "no number of pixels; name the columns of height and width in labels.size")
    return int(words[0]), int(words[1])


def runs_in(labels: MaskLabels, cell: str, size: tuple[int, int], where: str) -> np.ndarray:
    """The runs of a cell, (k, 2) int64. size: height and width, 0 where nobody knows. Raises DataError."""
    try:
        runs = read_runs(cell, labels.base)
    except ValueError as failure:
        raise DataError(f"{where}: {labels.column}: {failure}; needed: pairs of a start and a length, pixels counted "
                        f"from {labels.base}, as labels.base says") from None
    height, width = size
    if not height or not width:
        return runs
    if (end := int(runs.sum(axis=1).max())) > height * width:
        raise DataError(f"{where}: {labels.column}: the mask ends at pixel {end}, outside its picture of {height} x "
                        f"{width} = {height * width}; mend the row, or labels.size")
    return turned_runs(runs, height, width) if labels.order == "rows" else runs
