"""Score an answer of boxes, points or masks against what is known of the items that it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.masks import resized_mask
from foldpack.competitions.protocol import Labelled
from foldpack.data.rows import Rows
from foldpack.data.run_lengths import mask_of, read_runs
from foldpack.errors import DataError
from foldpack.metrics.objects import ObjectMetric, Objects
from foldpack.settings.answer_forms import BoxesAnswer, MasksAnswer

LAST_NUMBER = re.compile(r"[0-9]+$")
Size = tuple[int, int]  # height and width, pixels


def score_objects(metric: ObjectMetric, answer: BoxesAnswer | MasksAnswer, table: AnswerTable,
                  labelled: Labelled) -> float:
    """The score of a submission that asks for these very items; it should have no fault, see `answers.check`.

    Masks of the truth are brought to the size that the answer asks for. Images whose ids differ in their last number
    only are slices of one volume, in the order of the items. Raises DataError for an item without a row, and for masks
    of unknown size.
    """
    if labelled.rows is None:
        raise DataError(f"{labelled.source}: the labels are no boxes or masks, and metric '{metric.name}' scores such")
    told = [answer.map.get(name, name) for name in labelled.classes]
    ids, rows = labelled.items.answer or labelled.items.ids, rows_by_id(table)
    if missing := [item for item in ids if item not in rows]:
        raise DataError(f"the submission has no row of id '{missing[0]}' ({len(missing)} of {len(ids)} are missing)")
    volumes = [LAST_NUMBER.sub("", item) for item in ids]
    if isinstance(answer, BoxesAnswer):
        truth = [true_boxes(labelled.rows, number, told, volume) for number, volume in enumerate(volumes)]
        cells = table.column(answer.column)
        return metric(truth, [found_boxes(answer, cells[rows[item][0]], told) for item in ids])
    cells = table.column(answer.column)
    held = [max((held_pixels(answer, cells[row]) for row in rows[item]), default=0) for item in ids]
    sizes = mask_sizes(labelled.rows, answer, volumes, held)
    masks = [true_masks(labelled.rows, number, told, size, volume)
             for number, (size, volume) in enumerate(zip(sizes, volumes, strict=True))]
    found = [found_masks(answer, table, rows[item], told, size) for item, size in zip(ids, sizes, strict=True)]
    return metric(masks, found)


def rows_by_id(table: AnswerTable) -> dict[str, list[int]]:
    """Id -> the rows that answer it."""
    rows: dict[str, list[int]] = {}
    for number, item in enumerate(table.ids):
        rows.setdefault(item, []).append(number)
    return rows


def entries_of(rows: Rows, number: int) -> list[int]:
    """The entries of a row."""
    assert rows.starts is not None
    return list(range(int(rows.starts[number]), int(rows.starts[number + 1])))


def true_boxes(rows: Rows, number: int, told: Sequence[str], volume: str) -> Objects:
    """What is known of an item. told: what the answer calls each class."""
    entries = entries_of(rows, number)
    return Objects(words([told[label] for label in rows.columns["label"][entries]]), rows.columns["box"][entries],
                   volume=volume)


def found_boxes(answer: BoxesAnswer, cell: str, told: Sequence[str]) -> Objects:
    """What a cell says. Of points the boxes are empty, at the point."""
    if cell == answer.empty:
        return Objects(words([]), np.zeros((0, 4)), np.zeros((0, 2)), score=np.zeros(0))
    split, count = cell.split(), len(answer.text)
    said = [dict(zip(answer.text, split[first : first + count], strict=True)) for first in range(0, len(split), count)]
    boxes = np.array([corners(one) for one in said])
    points = boxes[:, :2] if answer.kind == "points" else (boxes[:, :2] + boxes[:, 2:]) / 2
    scores = np.array([float(one.get("score", 1)) for one in said])
    return Objects(words([one.get("label", told[0]) for one in said]), boxes, points, score=scores)


def corners(said: dict[str, str]) -> tuple[float, float, float, float]:
    """x_min, y_min, x_max, y_max of a box, whichever of its numbers are given; of a point twice the point."""
    number = {name: float(word) for name, word in said.items() if name not in ("label", "score")}
    x, y = number.get("x_min", number.get("x", 0.0)), number.get("y_min", number.get("y", 0.0))
    return (x, y, number.get("x_max", x + number.get("width", 0.0)), number.get("y_max", y + number.get("height", 0.0)))


def held_pixels(answer: MasksAnswer, cell: str) -> int:
    """How many pixels a picture must have to hold a mask."""
    return 0 if cell == answer.empty else int(read_runs(cell, answer.base)[-1].sum())


def mask_sizes(rows: Rows, answer: MasksAnswer, volumes: Sequence[str], held: Sequence[int]) -> list[Size]:
    """What size the masks of each item are compared at. An item without any in truth has that of its volume, as far as
    it is known; else one that holds what was found, as its form does not matter then."""
    if answer.size is not None:
        return [(answer.size[0], answer.size[1])] * len(rows)
    known: dict[str, Size] = {}
    own: list[Size | None] = []
    for number, volume in enumerate(volumes):
        sizes = rows.columns["size"][entries_of(rows, number)].tolist()
        if sizes and not all(sizes[0]):
            raise DataError(f"the size of the masks of item {number + 1} is not known, as its image is not there; name "
                            "columns of height and width in labels.size")
        own.append((sizes[0][0], sizes[0][1]) if sizes else None)
        if sizes:
            known.setdefault(volume, (sizes[0][0], sizes[0][1]))
    found = [known.get(volume, (max(1, pixels), 1)) for volume, pixels in zip(volumes, held, strict=True)]
    return [size or other for size, other in zip(own, found, strict=True)]


def true_masks(rows: Rows, number: int, told: Sequence[str], size: Size, volume: str) -> Objects:
    """What is known of an item, its masks brought to a size."""
    masks, labels = [], []
    for entry in entries_of(rows, number):
        first, end = rows.within["mask"][entry : entry + 2].tolist()
        height, width = rows.columns["size"][entry].tolist()
        mask = mask_of(rows.columns["mask"][first:end], height, width)
        masks.append(mask if (height, width) == size else resized_mask(mask, size[0], size[1]))
        labels.append(told[int(rows.columns["label"][entry])])
    return Objects(words(labels), mask=np.array(masks, dtype=bool).reshape(len(masks), *size), volume=volume)


def found_masks(answer: MasksAnswer, table: AnswerTable, rows: Sequence[int], told: Sequence[str],
                size: Size) -> Objects:
    """What the rows of an item say."""
    cells, (height, width) = table.column(answer.column), size
    labels = None if answer.label is None else table.column(answer.label)
    masks, names = [], []
    for row in rows:
        if cells[row] == answer.empty:
            continue
        runs = read_runs(cells[row], answer.base)
        masks.append(mask_of(runs, height, width) if answer.order == "columns" else mask_of(runs, width, height).T)
        names.append(told[0] if labels is None else labels[row])
    return Objects(words(names), mask=np.array(masks, dtype=bool).reshape(len(masks), height, width))


def words(labels: Sequence[str]) -> np.ndarray:
    """(n,) text."""
    return np.array(labels, dtype=str)
