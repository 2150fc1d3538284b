"""What is known of a competition's training items, and how it is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.item_sources import FilePath, Pair, TwoNames
from foldpack.settings.strict_model import StrictModel


class ClassTable(StrictModel):
    """All classes of a competition, in a column of a CSV."""

    file: FilePath
    column: str
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"


# None: the classes that training items have; "answer": the answer's columns, in their order.
ClassNames = Annotated[list[str], Field(min_length=2)] | ClassTable | Literal["answer"] | None


class ClassLabels(StrictModel):
    """One class an item, its name in a column."""

    kind: Literal["class"]
    column: str
    map: dict[str, str] = {}  # what is written -> the class's name; others stand for themselves
    classes: ClassNames = None


class OneHotLabels(StrictModel):
    """A column of 0 and 1 for each class."""

    kind: Literal["one-hot"]
    columns: Annotated[list[str], Field(min_length=2)]
    exclusive: bool  # whether each item has exactly one class


class JoinedLabels(StrictModel):
    """Any number of classes an item, joined in one cell."""

    kind: Literal["labels"]
    column: str
    separator: str | None = None  # None: white space
    map: dict[str, str] = {}
    classes: ClassNames = None


class GradeLabels(StrictModel):
    """Ordered grades, whole numbers from 0 on, in a column."""

    kind: Literal["grades"]
    column: str
    grades: Annotated[int, Field(ge=2)]  # so many


class ValueLabels(StrictModel):
    """Numbers, one or more an item, a column each."""

    kind: Literal["values"]
    columns: Annotated[list[str], Field(min_length=1)]
    range: Pair | None = None  # lowest and highest that there can be


class QueriesConfig(StrictModel):
    """What the test set asks for, where it is not as the training items are: out of fold, scores weigh by it."""

    none: Annotated[float, Field(gt=0, lt=1)] | None = None  # share that is like no other; None: as in training
    identities: Literal["as_train", "alike"] = "as_train"  # alike: each is asked for as often

    def told(self) -> str:
        """For eyes."""
        share = "" if self.none is None else f"{self.none:.0%} are like no other"
        alike = "each identity is asked for as often" if self.identities == "alike" else ""
        return ", and ".join(part for part in (share, alike) if part)


class IdentityLabels(StrictModel):
    """Which individual an item shows, in a column."""

    kind: Literal["identity"]
    column: str
    none: str | None = None  # the label of items that are like no other, such as "new_whale"; the training may lack it
    queries: QueriesConfig = QueriesConfig()

    @model_validator(mode="after")
    def _none_has_a_share(self) -> IdentityLabels:
        if self.queries.none is not None and self.none is None:
            raise ValueError("queries.none is the share of items that are like no other; name their label as none, or "
                             "leave it out")
        return self


class BoxLabels(StrictModel):
    """Boxes in an image, with or without a class: text in one cell, four columns of many rows, or COCO's `bbox`.

    text: the order of the words of one box, which follow each other in `column`: some of label, x, y, width, height,
    x_min, y_min, x_max, y_max and score. columns: what the columns are called, as x_min, y_min, x_max, y_max or x, y,
    width, height. bbox: a column with a list [x, y, width, height].
    """

    kind: Literal["boxes"]
    column: str | None = None
    text: list[str] | None = None
    columns: dict[str, str] | None = None
    bbox: str | None = None
    label: str | None = None  # column of the class, where it is no word of the text
    rater: str | None = None  # column of who drew the box, where several drew the same
    none: str | None = None  # the class that stands for "no box here"
    map: dict[str, str] = {}
    classes: ClassNames = None

    @model_validator(mode="after")
    def _one_way(self) -> BoxLabels:
        if [self.text is None, self.columns is None, self.bbox is None].count(False) != 1:
            raise ValueError("give one of text (with column), columns and bbox")
        if (self.text is None) != (self.column is None):
            raise ValueError("text and column go together")
        return self


class MaskLabels(StrictModel):
    """Masks as run lengths: a row an image, an image and class, or an object."""

    kind: Literal["masks"]
    column: str  # of the run lengths; an empty cell is an empty mask
    label: str | None = None  # column of the class
    objects: bool = False  # whether each row is an object of its own
    order: Literal["columns", "rows"] = "columns"  # pixels are counted down the columns, or along the rows
    base: Literal[0, 1] = 1  # the number of the first pixel
    size: TwoNames | None = None  # columns of height and width; None: those of the image
    map: dict[str, str] = {}
    classes: ClassNames = None


LabelsConfig = Annotated[
    ClassLabels | OneHotLabels | JoinedLabels | GradeLabels | ValueLabels | IdentityLabels | BoxLabels | MaskLabels,
    Field(discriminator="kind"),
]
