"""Where the items of a competition are told: a table, JSON, BSON, or the names of the files themselves.

Whatever the source, it becomes one table of text cells; what an item is, and where its image lies, is written in
templates over its columns: `{split}/{id}.jpg`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from foldpack.settings.strict_model import StrictModel

FIELD = re.compile(r"\{([^{}]*)\}")
SPLIT = "split"  # stands for "train" or "test" in every template


def template_fields(template: str) -> list[str]:
    """The columns that a template names, in order."""
    return FIELD.findall(template)


def check_template(template: str) -> str:
    """For settings: the template itself. Raises ValueError for braces that do not pair, or name nothing."""
    if not template or "{" in FIELD.sub("", template) or "}" in FIELD.sub("", template):
        raise ValueError(f"'{template}' is no template; write text with columns in braces, such as '{{id}}.jpg'")
    if "" in template_fields(template):
        raise ValueError(f"'{template}' has empty braces; name a column in them")
    return template


def check_inside(path: str) -> str:
    """For settings: a path below the competition's folder. Raises ValueError for one that leads out of it."""
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        raise ValueError(f"'{path}' leads out of the competition's folder; write a path below it")
    return path


Pair = Annotated[list[float], Field(min_length=2, max_length=2)]  # lowest and highest, or centre and width
HeightWidth = Annotated[list[int], Field(min_length=2, max_length=2)]  # pixels
TwoNames = Annotated[list[str], Field(min_length=2, max_length=2)]
Template = Annotated[str, AfterValidator(check_template)]
FilePath = Annotated[str, AfterValidator(check_inside), Field(min_length=1)]
PathTemplate = Annotated[str, AfterValidator(check_template), AfterValidator(check_inside)]
Files = FilePath | Annotated[list[FilePath], Field(min_length=1)]  # several: one below the other


class CsvSource(StrictModel):
    """A table of text, its first row the names of the columns."""

    kind: Literal["csv"]
    file: Files
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"  # a byte order mark is skipped


class CocoSource(StrictModel):
    """JSON with `images`, `annotations` and `categories`, as COCO has it; or a bare list of images.

    Columns: `image_id`, the other fields of an image, those of an annotation, and `category_name` with the other fields
    of a category, each with `category_` before it. A field of an annotation that is called like one of the image has
    `annotation_` before it, as its `id` always has. A row an annotation; an image without any has a row of its own.
    """

    kind: Literal["coco"]
    file: Files
    image_key: str = "id"  # of an image: what annotations call `image_id`
    category_key: str = "id"  # of a category: what annotations call `category_id`
    encoding: str = "utf-8"


class RecordsSource(StrictModel):
    """JSON: a list of objects, or an object a line. Columns: their fields that are text, numbers or booleans, and
    `row`, counted from 0."""

    kind: Literal["records"]
    file: Files
    encoding: str = "utf-8"


class BsonSource(StrictModel):
    """BSON documents one after another, each with a list of encoded pictures. A row a picture. Columns: the fields that
    are text or numbers; `offset`, where the document begins in the file; `picture`, counted from 0."""

    kind: Literal["bson"]
    file: FilePath
    pictures: str = "imgs"  # the list
    picture: str = "picture"  # of an element of the list: the encoded image


class FilesSource(StrictModel):
    """The image files themselves. A pattern is a path whose `{column}` stands for any text without a slash, and `*` for
    text that no one needs: `train/{label}/{name}.png`. Columns: those, and `path`."""

    kind: Literal["files"]
    pattern: PathTemplate | Annotated[list[PathTemplate], Field(min_length=1)]


class SampleSource(StrictModel):
    """The rows of the sample submission: for tests that no other file lists."""

    kind: Literal["sample"]


ItemSource = Annotated[CsvSource | CocoSource | RecordsSource | BsonSource | FilesSource | SampleSource,
                       Field(discriminator="kind")]


class ItemsConfig(StrictModel):
    """The items of one split. One item an image; of several rows with one `id` the labels belong together."""

    source: ItemSource
    parse: dict[str, PathTemplate | list[PathTemplate]] = {}  # column -> a pattern that takes its cells apart into
    # further columns, or several, of which the first that fits counts
    where: dict[str, str | list[str]] = {}  # only rows with this cell, or one of these, in a column
    id: Template  # of an item; each image has its own
    image: PathTemplate  # its file below the competition's folder; `*` stands for any text without a slash
    answer: Template | None = None  # what the sample calls it; None: `id`. Images that share one are answered together
    group: Template | None = None  # items that must not be parted by folds: a patient, a book, a place
