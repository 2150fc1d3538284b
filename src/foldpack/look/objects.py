"""Boxes and masks of training items: counted, and as drawings for the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldpack.competitions.protocol import Labelled
from foldpack.data.rows import Rows
from foldpack.data.run_lengths import mask_of


@dataclass(frozen=True, eq=False)
class Drawing:
    """What lies in one image. boxes: (k, 4) float xyxy in pixels; labels: (k,) int; mask: (H, W) int, the number of the
    class counted from 1, 0 for none; None where there are no such things."""

    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None


def object_counts(labelled: Labelled, rows: Rows) -> list[tuple[str, int]]:
    """(class, its boxes or masks) of each class."""
    counts = np.bincount(rows.columns["label"], minlength=len(labelled.classes))
    return list(zip(labelled.classes, counts.tolist(), strict=True))


def object_notes(rows: Rows) -> list[str]:
    """How many there are in an image."""
    assert rows.starts is not None
    each = np.diff(rows.starts)
    what = "boxes" if "box" in rows.columns else "masks"
    return [f"{len(rows)} images with {each.min()} to {each.max()} {what}, {each.mean():.3g} on the "
            f"mean; {int((each == 0).sum())} have none"]


def object_texts(labelled: Labelled, rows: Rows, row: int) -> list[str]:
    """How often each class is in one image."""
    labels = rows.take(slice(row, row + 1)).columns["label"]
    found = [(labelled.classes[k], int((labels == k).sum())) for k in np.unique(labels)]
    return [name if count == 1 else f"{name} x {count}" for name, count in found] or ["(none)"]


def drawing_of(rows: Rows, row: int) -> Drawing:
    """What lies in one image. A mask of which nobody knows the size is not drawn."""
    one = rows.take(slice(row, row + 1))
    labels = np.asarray(one.columns["label"])
    if "box" in one.columns:
        return Drawing(np.asarray(one.columns["box"]), labels)
    sizes = np.asarray(one.columns["size"])
    if not len(sizes) or not sizes.all():
        return Drawing()
    canvas = np.zeros(tuple(sizes[0].tolist()), dtype=np.int64)
    edges = one.within["mask"]
    for number, label in enumerate(labels.tolist()):
        canvas[mask_of(one.columns["mask"][edges[number] : edges[number + 1]], *canvas.shape)] = label + 1
    return Drawing(mask=canvas)
