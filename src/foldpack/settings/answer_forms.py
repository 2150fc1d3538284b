"""How a competition wants to be answered: the sample submission's file, its columns, and what stands in a cell."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.item_sources import FilePath, HeightWidth, Pair
from foldpack.settings.strict_model import StrictModel


class AnswerForm(StrictModel):
    """What every answer has: a file to be filled in, and the column that says which item a row asks for."""

    kind: str
    sample: FilePath = "sample_submission.csv"  # its rows are what is asked for, in this order
    id: str  # column of the sample; unnamed columns before it are row numbers, which are not handed in


class ClassAnswer(AnswerForm):
    """The name of the likeliest class."""

    kind: Literal["class"]
    column: str
    map: dict[str, str] = {}  # class -> how the answer calls it


class ProbabilityAnswer(AnswerForm):
    """The probability of one class, in one column."""

    kind: Literal["probability"]
    column: str
    of: Annotated[str, Field(description="the class whose probability is asked for, as the labels call it")]


class ProbabilitiesAnswer(AnswerForm):
    """A column of probabilities for each class. columns: class -> column; None: columns are called like classes.

    sums_to_1: whether those of an item must."""

    kind: Literal["probabilities"]
    columns: dict[str, str] | None = None
    sums_to_1: bool = False


class LabelsAnswer(AnswerForm):
    """The names of all classes above a threshold, joined in one cell; or a column of 0 and 1 for each class."""

    kind: Literal["labels"]
    column: str | None = None  # None: a column a class
    separator: str = " "
    empty: str = ""  # what stands for no class
    map: dict[str, str] = {}


class ValuesAnswer(AnswerForm):
    """Numbers, a column each. range: those beyond are cut to it."""

    kind: Literal["values"]
    columns: Annotated[list[str], Field(min_length=1)]
    range: Pair | None = None


class GradesAnswer(AnswerForm):
    """A whole number from 0 on."""

    kind: Literal["grades"]
    column: str


class RankingAnswer(AnswerForm):
    """The likeliest classes, best first, in one cell. Always k of them, each once."""

    kind: Literal["ranking"]
    column: str
    k: Annotated[int, Field(ge=1)]
    separator: str = " "


class BoxesAnswer(AnswerForm):
    """Boxes as text in one cell. text: the order of the words of one box: some of label, score, x, y, width, height,
    x_min, y_min, x_max, y_max; for points: label, x, y, the centre of the box."""

    kind: Literal["boxes", "points"]
    column: str
    text: Annotated[list[str], Field(min_length=2)]
    whole: bool = False  # whether coordinates are whole numbers
    empty: str = ""  # the cell of an image without a box
    most: Annotated[int, Field(ge=1)] | None = None  # boxes an image
    map: dict[str, str] = {}


class MasksAnswer(AnswerForm):
    """Masks as run lengths.

    rows: "image": one mask an image; "class": a row an image and class; "object": a row an object, so that an image has
    as many rows as were found. size: height and width that all masks are brought to; None: the image's own.
    """

    kind: Literal["masks"]
    column: str
    rows: Literal["image", "class", "object"] = "image"
    label: str | None = None  # column of the class, where rows are of a class or an object
    order: Literal["columns", "rows"] = "columns"
    base: Literal[0, 1] = 1
    size: HeightWidth | None = None
    empty: str = ""
    overlap: bool = True  # whether the masks of an image may share pixels
    map: dict[str, str] = {}

    @model_validator(mode="after")
    def _rows_have_a_label(self) -> MasksAnswer:
        if (self.rows == "image") != (self.label is None):
            raise ValueError(f"rows '{self.rows}' {'has no' if self.label else 'needs a'} label column")
        return self


AnswerConfig = Annotated[
    ClassAnswer | ProbabilityAnswer | ProbabilitiesAnswer | LabelsAnswer | ValuesAnswer | GradesAnswer | RankingAnswer
    | BoxesAnswer | MasksAnswer,
    Field(discriminator="kind"),
]
