"""What foldpack asks of a competition: where its items and their truth are, and how its answer looks.

`training_items.TrainableCompetition` is what a `competition.yml` tells. A class of a project's own has the same
attributes and methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from foldpack.competitions.answer_table import AnswerTable
from foldpack.data.answers import Answers
from foldpack.data.image_place import image_file
from foldpack.data.items import Items, whole_images
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.settings.stages import StageSpec

MOST_MISSING = 20  # items without an image that a message names


@dataclass(frozen=True)
class Labelled:
    """Training items and what is known of each, row by row."""

    source: Path  # the file that says it, for messages
    items: Items
    targets: np.ndarray  # (n,) int64 class indices, (n, C) bool, or (n, T) float64 values
    classes: list[str]  # in the column order of every probability matrix; of values their columns
    labels: dict[str, list[str]]  # column -> the truth as people write it, for folds.csv
    columns: dict[str, list[str]] = field(default_factory=dict)  # all that the table says, to name groups by
    none: bool = False  # the last class stands for items that are like no other
    groups: list[str] | None = None  # which items folds must not part
    rows: Rows | None = None  # of boxes and masks: what lies in each image, `labels.boxes` and `labels.masks` say how

    def take(self, ids: list[str], source: Path) -> Labelled:
        """The rows of these ids, in their order. source: the file that names them. Raises DataError for others."""
        place = {item: row for row, item in enumerate(self.items.ids)}
        if strange := [item for item in ids if item not in place]:
            raise DataError(f"{source}: id '{strange[0]}' is no training item of the competition ({len(strange)} of "
                            f"{len(ids)} are none); make the folds again with `foldpack folds`")
        rows = [place[item] for item in ids]
        answer = None if self.items.answer is None else [self.items.answer[row] for row in rows]
        items = whole_images(ids, [self.items.images[row] for row in rows], self.items.notes, answer,
                             self.items.reader)
        labels, columns = ({name: [cells[row] for row in rows] for name, cells in part.items()}
                           for part in (self.labels, self.columns))
        groups = None if self.groups is None else [self.groups[row] for row in rows]
        objects = None if self.rows is None else self.rows.take(slice(0, 0))
        if self.rows is not None and rows:
            objects = Rows.joined([self.rows.take(slice(row, row + 1)) for row in rows])
        return Labelled(source, items, self.targets[rows], self.classes, labels, columns, self.none, groups, objects)


class AskedCompetition(Protocol):
    """What a kernel needs of one competition. root, everywhere: its folder, as downloaded or as Kaggle mounts it."""

    @property
    def name(self) -> str:
        """As configurations and ensembles name it."""

    @property
    def slug(self) -> str:
        """On Kaggle."""

    @property
    def sample_csv(self) -> str:
        """The sample submission's file, by whose name and columns the kernel finds the competition's folder."""

    @property
    def id_column(self) -> str:
        """Of the sample: which row is asked for."""

    def test(self, root: Path) -> Items:
        """What is to be answered, its `answer_ids` in the order of the sample submission; images may be missing. Raises
        DataError."""

    def made_up(self, ids: Sequence[str], stage: StageSpec) -> AnswerTable:
        """A sample submission that asks for these items, as it would be for what the stage decides; its `places` are
        the columns that are answered."""

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """The whole submission. ids: what the answers are of, `Items.answer_ids`. Raises DataError for a row that asks
        for another."""

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        """Raises DataError unless the submission `path` is what the stage decides. root: None where the folder is not
        at hand: then only what can be said without the sample submission."""


class Competition(AskedCompetition, Protocol):
    """One competition, with what training needs of it."""

    @property
    def task(self) -> str:
        """"multiclass", "multilabel", "ranking" (one class, answered by several) or "values" (numbers)."""

    def train(self, root: Path) -> Labelled:
        """The training items; images may be missing. Raises DataError for files that do not fit."""


def require_images(items: Items, source: Path) -> None:
    """Raises DataError naming the items whose images are not on disk, at most 20 of them. source: the file that asks
    for them."""
    missing = [(item, path) for item, path in zip(items.ids, items.images, strict=True) if image_file(path) is None]
    if missing:
        item, path = missing[0]
        others = ", ".join(name for name, _ in missing[:MOST_MISSING])
        more = f" and {len(missing) - MOST_MISSING} more" if len(missing) > MOST_MISSING else ""
        raise DataError(f"{source}: id '{item}' has no image at {path} ({len(missing)} of {len(items)} are missing: "
                        f"{others}{more}); complete the download or drop these rows")
