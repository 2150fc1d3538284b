"""What the labels of a competition say, and how cells of several rows become the label of one item."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.competitions.item_rules import ItemList
from foldpack.competitions.sources.csv_table import read_csv_table, read_sample_table
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.files import failure_words
from foldpack.settings.answer_forms import AnswerConfig, LabelsAnswer, ProbabilitiesAnswer
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.label_kinds import ClassNames, ClassTable


@dataclass(frozen=True, eq=False)
class Truth:
    """Item by item; the fields are those of `protocol.Labelled`."""

    targets: np.ndarray
    classes: list[str]
    labels: dict[str, list[str]]
    none: bool = False
    rows: Rows | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Source:
    """Where labels are read from."""

    root: Path
    config: CompetitionConfig
    items: ItemList

    def cells(self, column: str) -> tuple[list[str], list[str]]:
        """(the cell of each item in a column, notes). Raises DataError for rows of an item that contradict."""
        table = self.items.table
        cells, found, repeated = table.column(column, "labels: column"), [], []
        for item, rows in zip(self.items.ids, self.items.rows, strict=True):
            found.append(cells[rows[0]])
            if len(rows) == 1:
                continue
            repeated.append(item)
            if other := next((row for row in rows if cells[row] != cells[rows[0]]), None):
                raise DataError(f"{table.where(other)}: id '{item}' has {column} '{cells[other]}', but "
                                f"'{cells[rows[0]]}' in {table.where(rows[0])}; keep one of the two, or let id name "
                                "more columns")
        return found, ([f"{table.source}: {len(repeated)} ids stand there several times with the same {column}, such "
                        f"as '{repeated[0]}'; each is one item"] if repeated else [])

    def size(self, item: int) -> tuple[int, int]:
        """Height and width of an item's image, pixels; 0 where it is not there. Raises DataError where it cannot be
        read."""
        path = self.root / self.items.paths[item]
        if not path.is_file():
            return 0, 0
        try:
            with Image.open(path) as image:
                return image.height, image.width
        except (OSError, Image.DecompressionBombError) as failure:
            raise DataError(f"{path}: its size cannot be read ({failure_words(failure)}); mend the image, or name "
                            "columns of height and width in labels.size") from None

    def where(self, item: int) -> str:
        """The first row that tells of an item, for messages."""
        return self.items.table.where(self.items.rows[item][0])

    def require(self, cells: list[str], column: str) -> None:
        """Raises DataError for an item whose cell is empty."""
        if "" in cells:
            item = cells.index("")
            raise DataError(f"{self.where(item)}: id '{self.items.ids[item]}' has no {column} ({cells.count('')} of "
                            f"{len(cells)} items have none); each needs one, so fill it in or leave these rows out")

    def classes(self, asked: ClassNames, seen: Iterable[str], last: str | None = None,
                fewest: int = 2) -> tuple[list[str], str]:
        """(all classes in their order, where they are told). seen: of the training items; last: the one that comes
        last, where it is there. fewest: how many there must be, one where objects are to be found. Raises DataError for
        fewer, or one that is named twice."""
        source = str(self.items.table.source)
        if asked is None:
            names = sort_classes(seen)
        elif isinstance(asked, ClassTable):
            source = str(self.root / asked.file)
            names = read_csv_table(self.root, "train", asked.file, asked.separator, asked.encoding).column(asked.column)
        elif asked == "answer":
            source = str(self.root / self.config.answer.sample)
            names = answer_classes(self.config.answer, self.sample_columns())
        else:
            source, names = "labels.classes", list(asked)
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{source}: class '{repeated}' stands there more than once; name each once")
        if last in names:
            names = [*(name for name in names if name != last), str(last)]
        if len(names) < fewest:
            raise DataError(f"{source}: {len(names)} classes ({', '.join(names)}); at least "
                            f"{'two are' if fewest == 2 else 'one is'} needed")
        return names, source

    def sample_columns(self) -> list[str]:
        """The named columns of the sample submission."""
        return list(read_sample_table(self.root, "test", self.config.answer.sample, self.config.answer.id).columns)

    def places(self, words: list[str], classes: list[str], source: str) -> np.ndarray:
        """(n,) int64: the class of each item. Raises DataError for a word that is no class."""
        place = {name: number for number, name in enumerate(classes)}
        for item, word in enumerate(words):
            if word not in place:
                raise DataError(self.strange(item, word, classes, source))
        return np.array([place[word] for word in words], dtype=np.int64)

    def strange(self, item: int, word: str, classes: list[str], source: str) -> str:
        """What to say of a word that is no class."""
        bare = {name.lstrip("0") or "0": name for name in classes}
        lost = bare.get(word.lstrip("0") or "0") if word.isdecimal() else None
        why = f"class '{lost}' is there, so one of them has lost its zeros" if lost else (
            "write it there, or translate it with labels.map")
        return (f"{self.where(item)}: class '{word}' is not among the {len(classes)} classes of {source}, such as "
                f"'{classes[0]}'; {why}")


def sort_classes(names: Iterable[str]) -> list[str]:
    """Each once: numbers as numbers, and words after them."""
    return sorted(set(names), key=lambda word: (not word.isdecimal(), int(word) if word.isdecimal() else 0, word))


def answer_classes(answer: AnswerConfig, columns: list[str]) -> list[str]:
    """The classes that have a column in the sample, in its order. Raises DataError for an answer that has none."""
    if isinstance(answer, ProbabilitiesAnswer):
        called = {column: name for name, column in (answer.columns or {}).items()}
        return [called.get(name, name) for name in columns if name != answer.id and (not called or name in called)]
    if isinstance(answer, LabelsAnswer) and answer.column is None:
        return [name for name in columns if name != answer.id]
    raise DataError(f"labels.classes is 'answer', but an answer of kind '{answer.kind}' has no column a class; leave "
                    "it out, or list the classes")
