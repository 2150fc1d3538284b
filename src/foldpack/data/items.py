"""What is predicted: images, or boxes in them. Items are sorted by image, and the engine's rows are images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from foldpack.data.answer_groups import AnswerGroups, answer_groups
from foldpack.data.decode import PILLOW
from foldpack.data.readers.protocol import Reader
from foldpack.data.rows import Rows
from foldpack.errors import DataError


@dataclass(frozen=True, eq=False)
class Items:
    """Images with their ids, and what is asked of each. A file may be missing on disk: its rows are lost.

    Raises DataError for parts that do not fit together.
    """

    ids: list[str]  # of the images, in the order asked for; one that is asked for twice stands twice
    images: list[Path]  # one an id
    image: np.ndarray  # (n,) int32, ascending: the image of each item
    box: np.ndarray | None = None  # (n, 4) float32 xyxy, pixels of the upright file; None: whole images
    known: dict[str, np.ndarray] = field(default_factory=dict)  # (n,) each: what the stage before said of a box
    notes: list[str] = field(default_factory=list)  # what was odd about the images' folder, a line each
    answer: list[str] | None = None  # one an image: the id of the answer that it belongs to; None: each is its own
    reader: Reader = PILLOW  # of all images

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.images):
            raise DataError(f"{len(self.ids)} ids for {len(self.images)} image paths; each id needs one path")
        if self.answer is not None and len(self.answer) != len(self.ids):
            raise DataError(f"{len(self.answer)} names of answers for {len(self.ids)} images; each image needs one")
        if len(self.image) and (np.diff(self.image) < 0).any():
            raise DataError("items that are not sorted by image")
        lengths = {name: len(column) for name, column in self.known.items()}
        lengths |= {} if self.box is None else {"box": len(self.box)}
        if wrong := [name for name, length in lengths.items() if length != len(self.image)]:
            raise DataError(f"{lengths[wrong[0]]} entries of '{wrong[0]}' for {len(self.image)} items")

    def __len__(self) -> int:
        """Number of items: of boxes, where there are boxes."""
        return len(self.image)

    @property
    def starts(self) -> np.ndarray:
        """(images + 1,) int64: where the items of each image begin. An image without items keeps its place."""
        return np.searchsorted(self.image, np.arange(len(self.ids) + 1)).astype(np.int64)

    @cached_property
    def groups(self) -> AnswerGroups | None:
        """Which images are answered together; None where each is answered alone."""
        return answer_groups(self.answer)

    @property
    def answer_ids(self) -> list[str]:
        """What is answered, in the order of the answers."""
        return self.groups.names if self.groups is not None else self.answer or self.ids


def whole_images(ids: list[str], images: list[Path], notes: Sequence[str] = (),
                 answer: list[str] | None = None, reader: Reader = PILLOW) -> Items:
    """One item an image. answer: one an image, or None. Raises DataError for more or fewer than ids."""
    return Items(ids, images, np.arange(len(ids), dtype=np.int32), notes=list(notes), answer=answer,
                 reader=reader)


def boxes_of(items: Items, rows: Rows, most: int) -> Items:
    """The boxes that were found on some images as items, in the order of the rows.

    rows: a row an image, with the columns `box` (N, 4) xyxy and `score` (N,), and others (N,) that are known of a box
    from then on. most: so many of each image, those of the highest scores; of equal ones the first. A lost row has
    none. Raises DataError for rows of other images, and where several images have one answer: boxes have no mean.
    """
    if items.groups is not None:
        together = items.groups.names[int(np.diff(items.groups.starts).argmax())]
        raise DataError(f"answer '{together}' is of several images, and boxes of several images have no mean; give "
                        "each image an answer of its own")
    if rows.starts is None or len(rows) != len(items.ids):
        raise DataError(f"{len(rows)} rows of boxes for {len(items.ids)} images; each image needs a row")
    image = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(rows.starts))
    order = np.lexsort((-np.asarray(rows.columns["score"], dtype=np.float64), image))  # stable
    rank = np.empty(len(image), dtype=np.int64)
    rank[order] = np.arange(len(image)) - rows.starts[image]
    kept = rank < most
    if rows.lost is not None:
        kept &= ~rows.lost[image]
    known = {name: column[kept] for name, column in rows.columns.items()
             if column.ndim == 1 and name not in rows.within}
    box = np.asarray(rows.columns["box"], dtype=np.float32)[kept]
    return replace(items, image=image[kept], box=box, known=known)
