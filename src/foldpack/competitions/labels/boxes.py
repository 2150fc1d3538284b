"""Labels that are boxes: text in a cell, four columns of many rows, or COCO's `bbox`."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from foldpack.competitions.labels.truth import Source, Truth
from foldpack.competitions.labels.values import number_of
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.settings.label_kinds import BoxLabels

CORNERS, SIDES = ("x_min", "y_min", "x_max", "y_max"), ("x", "y", "width", "height")


@dataclass(frozen=True)
class DrawnBox:
    """A box as it was written. box: x_min, y_min, x_max, y_max, pixels."""

    row: int  # of the table
    word: str  # its class as it is written
    box: tuple[float, float, float, float]


def box_truth(labels: BoxLabels, source: Source) -> Truth:
    """Boxes of any number an item. targets: (n, C) bool, which classes each has.

    rows: a row an item with `box` (N, 4) float32 xyxy, `label` (N,) int32, the class, and where raters are told `rater`
    (N,) int32. Raises DataError for a box that is turned over, without all of its numbers, or of a strange class.
    """
    table, rater = source.items.table, None
    if labels.rater is not None:
        raters = table.column(labels.rater, "labels: column")
        names = {name: number for number, name in enumerate(sorted(set(raters)))}
        rater = [names[name] for name in raters]
    drawn: list[list[DrawnBox]] = []
    read = text_boxes if labels.text is not None else column_boxes if labels.columns is not None else coco_boxes
    for rows in source.items.rows:
        found = [box for row in rows for box in read(labels, source, row)]
        drawn.append([box for box in found if box.word != labels.none])
    words = [labels.map.get(box.word, box.word) for boxes in drawn for box in boxes]
    has_class = labels.label is not None or "label" in (labels.text or ())
    if has_class:
        classes, told = source.classes(labels.classes, words, fewest=1)
    else:
        classes, told = ["box"], ""
    owner = np.repeat(np.arange(len(drawn)), [len(boxes) for boxes in drawn])
    place = {name: number for number, name in enumerate(classes)}
    for item, word in zip(owner.tolist(), words, strict=True):
        if has_class and word not in place:
            raise DataError(source.strange(item, word, classes, told))
    flat = [box for boxes in drawn for box in boxes]
    columns = {"box": np.array([box.box for box in flat], dtype=np.float32).reshape(-1, 4),
               "label": np.array([place[word] if has_class else 0 for word in words], dtype=np.int32)}
    if rater is not None:
        columns["rater"] = np.array([rater[box.row] for box in flat], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum([len(boxes) for boxes in drawn])]).astype(np.int64)
    targets = np.zeros((len(drawn), len(classes)), dtype=bool)
    targets[owner, columns["label"]] = True
    written = [" ".join(name for name, has in zip(classes, row, strict=True) if has) for row in targets]
    return Truth(targets, classes, {"label": written}, rows=Rows(columns, starts))


def text_boxes(labels: BoxLabels, source: Source, row: int) -> list[DrawnBox]:
    """The boxes in one cell, whose words follow each other as `labels.text` says."""
    assert labels.text is not None and labels.column is not None
    table, fields = source.items.table, labels.text
    words = table.column(labels.column, "labels: column")[row].split()
    if len(words) % len(fields):
        raise DataError(f"{table.where(row)}: {labels.column} has {len(words)} words, which are no boxes of "
                        f"{len(fields)} each: {' '.join(fields)}; mend the row, or labels.text")
    boxes = []
    for first in range(0, len(words), len(fields)):
        named = dict(zip(fields, words[first : first + len(fields)], strict=True))
        word = named.get("label", "") if labels.label is None else table.column(labels.label)[row]
        if word and word == labels.none:
            continue
        boxes.append(DrawnBox(row, word, box_of(named, source, row, " ".join(named.values()))))
    return boxes


def column_boxes(labels: BoxLabels, source: Source, row: int) -> list[DrawnBox]:
    """The box of one row, in four columns; none where all four are empty."""
    assert labels.columns is not None
    table = source.items.table
    named = {field: table.column(name, "labels: column")[row] for field, name in labels.columns.items()}
    word = "" if labels.label is None else table.column(labels.label, "labels: column")[row]
    if not any(named.values()) or word and word == labels.none:
        return []
    return [DrawnBox(row, word, box_of(named, source, row, ", ".join(named.values())))]


def coco_boxes(labels: BoxLabels, source: Source, row: int) -> list[DrawnBox]:
    """The box of an annotation, x, y, width and height; none for an empty cell."""
    assert labels.bbox is not None
    table = source.items.table
    cell = table.column(labels.bbox, "labels: column")[row]
    if not cell:
        return []
    try:
        values = [str(float(value)) for value in json.loads(cell)]
    except (ValueError, TypeError):
        values = []
    if len(values) != 4:
        raise DataError(f"{table.where(row)}: {labels.bbox} is '{cell}'; needed: a list of x, y, width and height")
    word = "" if labels.label is None else table.column(labels.label, "labels: column")[row]
    return [DrawnBox(row, word, box_of(dict(zip(SIDES, values, strict=True)), source, row, cell))]


def box_of(named: dict[str, str], source: Source, row: int, shown: str) -> tuple[float, float, float, float]:
    """Corners from the numbers of a box by their names. Raises DataError."""
    where, values = source.items.table.where(row), {}
    fields = CORNERS if set(CORNERS) <= named.keys() else SIDES
    for field in fields:
        value = number_of(named.get(field, ""))
        if value is None:
            raise DataError(f"{where}: the box '{shown}' has {field} '{named.get(field, '')}'; needed: the numbers "
                            f"{', '.join(fields)}")
        values[field] = value
    a, b, c, d = (values[field] for field in fields)
    box = (a, b, c, d) if fields is CORNERS else (a, b, a + c, b + d)
    if box[2] <= box[0] or box[3] <= box[1]:
        names = "x_min < x_max and y_min < y_max" if fields is CORNERS else "width and height above 0"
        raise DataError(f"{where}: the box '{shown}' is turned over or empty, x from {box[0]:g} to {box[2]:g}, y from "
                        f"{box[1]:g} to {box[3]:g}; needed: {names}; mend the row, or the order of its words in labels")
    return box
