"""How the rows of a source become items: their ids, their images, and what the sample calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldpack.competitions.image_files import ImageFiles
from foldpack.competitions.sources.text_table import ANY_TEXT, BRACES, TextTable
from foldpack.errors import DataError


@dataclass(frozen=True)
class ItemRules:
    """The items of one split: `settings.item_sources.ItemsConfig` as the kernel has it. Templates are over columns."""

    read: Callable[..., TextTable]  # (root, split, **source): one of `sources.registry.SOURCES`
    source: dict[str, Any]  # its settings
    id: str
    image: str
    split: str = "test"
    answer: str | None = None  # None: `id`
    parse: Mapping[str, str | list[str]] = field(default_factory=dict)
    where: Mapping[str, str | list[str]] = field(default_factory=dict)
    inside: bool = False  # whether images lie inside a file: no folder is looked into

    def rows(self, root: Path) -> TextTable:
        """The source as a table, with what is parsed, without what is left out. Raises DataError."""
        return self.read(root, self.split, **self.source).parsed(self.parse, self.split).chosen(self.where)

    def items(self, root: Path) -> ItemList:
        """The items, in the order in which they first stand in the source. Raises DataError for a column that is not
        there, and for rows of one id that name different images or answers."""
        table = self.rows(root)
        paths = table.rendered(self.image, self.split, "image")
        ids = table.rendered(self.id, self.split, "id")
        answers = ids if self.answer is None else table.rendered(self.answer, self.split, "answer")
        rows: dict[str, list[int]] = {}
        for row, item in enumerate(ids):
            rows.setdefault(item, []).append(row)
        if "" in rows and self.split == "train":  # what a sample asks for is answered, whatever it is called
            raise DataError(f"{table.where(rows[''][0])}: its id is empty; each row needs one, so fill it in or leave "
                            "the row out")
        for item, several in rows.items():
            for what, cells in (("image", paths), ("answer", answers)):
                if other := next((row for row in several if cells[row] != cells[several[0]]), None):
                    one, two = (cells[row].replace(ANY_TEXT, "*") for row in (several[0], other))
                    raise DataError(f"{table.where(other)}: id '{item}' has {what} '{two}', and '{one}' in "
                                    f"{table.where(several[0])}; each image needs an id of its own, so write more "
                                    "columns into id")
        firsts = [several[0] for several in rows.values()]
        files = ImageFiles(root)
        found, notes = self.find([paths[row] for row in firsts], files)
        return ItemList(table, list(rows), [answers[row] for row in firsts], found, list(rows.values()), notes, files)

    def find(self, paths: Sequence[str], files: ImageFiles) -> tuple[list[str], list[str]]:
        """(the file of each path, what is odd). A path may end otherwise than the template says."""
        if self.inside:
            return list(paths), []
        found = [files.find(path) for path in paths]
        other = [row for row, path in enumerate(paths) if ANY_TEXT not in path and found[row] != path]
        if not other:
            return found, []
        path = paths[other[0]]
        return found, [f"{files.root / path.rpartition('/')[0]}: {len(other)} of {len(paths)} images have another "
                       f"ending than expected and are taken, such as '{found[other[0]].rpartition('/')[2]}' for "
                       f"'{path.rpartition('/')[2]}'"]

    @property
    def folder(self) -> str:
        """Where the images lie, as far as the template says it for all."""
        plain = self.image.replace("{split}", self.split)
        return BRACES.split(plain)[0].partition("*")[0].rpartition("/")[0]

    @property
    def ending(self) -> str:
        """What the image's template ends with, after its last column."""
        return BRACES.split(self.image)[-1].rpartition("*")[2]


@dataclass(frozen=True, eq=False)
class ItemList:
    """The items of a source, and the rows that tell of each."""

    table: TextTable
    ids: list[str]
    answers: list[str]  # what the sample calls each
    paths: list[str]  # of their images below the competition's folder
    rows: list[list[int]]  # of `table`
    notes: list[str]  # what was odd
    files: ImageFiles  # the folders that were looked into
