"""Competitions of the plain kind: a CSV with an id and its labels, a folder of images, a CSV to hand in."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.competitions.answer_cells import cell_rule
from foldpack.competitions.answer_table import AnswerTable, blank_table
from foldpack.competitions.image_files import ImageFolder
from foldpack.competitions.label_cells import (
    check_cells,
    check_class_names,
    check_single,
    number_cells,
    split_labels,
    twin_words,
)
from foldpack.competitions.protocol import Labelled
from foldpack.data.answers import Answers, number_texts
from foldpack.data.items import Items, whole_images
from foldpack.errors import DataError, did_you_mean
from foldpack.files import failure_words
from foldpack.settings.stages import StageSpec, numbered

# One class an item; any number of them; one class, answered by several, likeliest first; a number.
KINDS = ["multiclass", "multilabel", "ranking", "values"]
JOINED = ("multilabel", "ranking")  # have several classes in an answer


@dataclass(frozen=True)
class ImageTable:
    """A `Competition` that lays out its files so. Folders and files are relative to the competition's folder."""

    name: str
    slug: str  # on Kaggle
    task: str  # what labels and answers are: a key of `KINDS`
    id_column: str
    label_column: str
    suffix: str  # what follows an id in its image's file name; empty if the id has it
    train_csv: str = "train.csv"
    train_folder: str = "train"
    test_folder: str = "test"
    sample_csv: str = "sample_submission.csv"
    class_csv: str | None = None  # first column: all classes, one a row; None: the classes seen in train
    separator: str | None = None  # multilabel: between the classes of a label; None: white space
    answer_separator: str | None = None  # multilabel, ranking: between those of an answer; None: as above, else a space
    none_class: str | None = None  # ranking: the label of items that are like no other, such as "new_whale"

    def __post_init__(self) -> None:
        """Raises DataError for a task that is none, and for settings that do not fit it."""
        if self.task not in KINDS:
            raise DataError(f"competition '{self.name}': unknown task '{self.task}': {did_you_mean(self.task, KINDS)}")
        for setting, value, many in (("separator", self.separator, self.task == "multilabel"),
                                     ("answer_separator", self.answer_separator, self.task in JOINED)):
            if value is not None and many != bool(value):
                allowed = "None, or a text that is not empty" if many else "None, or '' if no sign joins labels"
                raise DataError(f"competition '{self.name}': {setting} is {value!r}; allowed for task '{self.task}': "
                                f"{allowed}")
        if self.none_class is not None and self.task != "ranking":
            raise DataError(f"competition '{self.name}': none_class is {self.none_class!r}; allowed for task "
                            f"'{self.task}': None")

    @property
    def joiner(self) -> str:
        """What stands between the classes of an answer, where it has several."""
        return self.answer_separator or self.separator or " "

    def train(self, root: Path) -> Labelled:
        """See `Competition`."""
        path = root / self.train_csv
        table = read_table(path, [self.id_column, self.label_column])
        if not len(table):
            raise DataError(f"{path}: the table has no rows; is the download complete?")
        labels = table[self.label_column].tolist()
        if self.task != "multilabel" and "" in labels:
            item = table[self.id_column].tolist()[labels.index("")]
            raise DataError(f"{path}: id '{item}' has no {self.label_column} ({labels.count('')} of {len(labels)} rows "
                            "have none); each needs one, so fill them in or drop these rows")
        items = items_in(self, root / self.train_folder, table[self.id_column].tolist())
        if self.task == "multilabel" and self.separator is None and self.class_csv is None and (
                twins := twin_words(labels)):
            items.notes.append(f"{path}: {twins}")
        columns = {str(name): table[name].tolist() for name in table.columns}
        given = {self.label_column: labels}
        if self.task == "values":
            return Labelled(path, items, number_cells(given, items.ids, path), [self.label_column], given, columns)
        classes = class_names(self, root, labels)
        targets = encode_labels(self, labels, classes)
        return Labelled(path, items, targets, classes, given, columns, none=self.none_class in classes)

    def test(self, root: Path) -> Items:
        """See `Competition`. The sample submission decides rows, columns and their order; an id that it asks for twice
        is answered twice. What it lacks, and what the folder lacks, is noted."""
        folder, ids = root / self.test_folder, read_sample(self, root)[self.id_column].tolist()
        images = ImageFolder(folder, self.suffix)
        found = images.find(ids)
        renamed, asked = images.renamed(ids, found), f"the {len(set(ids))} that {self.sample_csv} asks for"
        notes = [renamed] if renamed else []
        more = images.surplus(found) if self.test_folder != self.train_folder else []
        if more:
            notes.append(f"{folder}: holds {len(more)} images more than {asked}, such as '{more[0]}'; they are not "
                         "answered, so take a newer sample if this one is stale")
        if missing := images.missing(found):
            notes.append(f"{folder}: {len(missing)} images of {asked} are missing, such as '{missing[0]}'; their rows "
                         "get the prior")
        return whole_images(ids, [folder / name for name in found], notes)

    def made_up(self, ids: Sequence[str], stage: StageSpec) -> AnswerTable:
        """See `Competition`."""
        return blank_table(self.id_column, self.number_columns(numbered(stage.outputs, stage.decision)), ids)

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """See `Competition`."""
        return sample.answered(ids, self.cells(answers))

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """Column -> one cell an item. Names, joined, or one number stand in the column of the labels; of several
        numbers each has a column that is called like its class or target."""
        if answers.names is not None:
            return {self.label_column: [self.joiner.join(words) for words in answers.names]}
        assert answers.numbers is not None
        columns = self.number_columns(answers.columns)
        return {name: number_texts(answers.numbers[:, place]) for place, name in enumerate(columns)}

    def number_columns(self, names: Sequence[str]) -> list[str]:
        """The columns of an answer in numbers of these names."""
        return list(names) if len(names) > 1 else [self.label_column]

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        """See `Competition`."""
        columns = self.number_columns(numbered(stage.outputs, stage.decision))
        table = read_table(path, [self.id_column, *columns], unique=root is None)
        problem = cell_rule(stage.outputs, stage.decision, self.joiner)
        for column in columns:
            for item, cell in zip(table[self.id_column], table[column], strict=True):
                if said := problem(cell):
                    raise DataError(f"{path}: id '{item}' is answered with {said}")
        if root is None:
            return
        sample = read_sample(self, root)
        if list(table.columns) != list(sample.columns):
            raise DataError(f"{path}: columns {', '.join(table.columns)}; allowed: {', '.join(sample.columns)}")
        expected = sample[self.id_column].tolist()
        if table[self.id_column].tolist() != expected:
            raise DataError(f"{path}: its {len(table)} ids differ from the {len(expected)} ids of {self.sample_csv}")


def read_table(path: Path, columns: list[str], unique: bool = True) -> pd.DataFrame:
    """Read a CSV, every value a str. Raises DataError when it is missing, lacks a column or repeats an id.

    unique: False where ids, the first of `columns`, may stand there more than once.

    A row with more values than the header has names is an error, not a shift of all columns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError, pd.errors.ParserWarning) as failure:
        raise DataError(f"{path}: cannot read the table ({failure_words(failure)}); is this the competition's "
                        "folder?") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path}: column '{missing[0]}' is missing, got: {', '.join(table.columns)}; "
                        f"needed: {', '.join(columns)}")
    if unique and (repeated := table[columns[0]][table[columns[0]].duplicated()].tolist()):
        raise DataError(f"{path}: id '{repeated[0]}' stands there more than once; ids must be unique")
    return table


def items_in(layout: ImageTable, folder: Path, ids: list[str]) -> Items:
    """Items whose images lie in `folder`, with the layout's suffix or another ending, which is noted."""
    images = ImageFolder(folder, layout.suffix)
    found = images.find(ids)
    renamed = images.renamed(ids, found)
    return whole_images(ids, [folder / name for name in found], [renamed] if renamed else [])


def read_sample(layout: ImageTable, root: Path) -> pd.DataFrame:
    """The sample submission, every value a str. Raises DataError."""
    return read_table(root / layout.sample_csv, [layout.id_column], unique=False)


def class_names(layout: ImageTable, root: Path, labels: list[str]) -> list[str]:
    """All classes, in the column order of every probability matrix; `none_class` is the last.

    Raises DataError for fewer than two, and for labels or classes that the adapter's separator does not fit.
    """
    listed = None if layout.class_csv is None else read_class_table(root / layout.class_csv)
    if layout.task == "multilabel":
        if listed is not None:
            check_class_names(listed, str(root / str(layout.class_csv)), layout.separator, layout.joiner)
        check_cells(labels, layout.separator, listed)
    elif layout.separator is None and listed is None:
        check_single(labels)
    if listed is None:
        seen = {word for text in labels for word in label_words(layout, text)}
        names = sorted(seen, key=lambda word: (not word.isdecimal(), int(word) if word.isdecimal() else 0, word))
        source = root / layout.train_csv
        if layout.task == "multilabel":
            check_class_names(names, str(source), layout.separator, layout.joiner)
    else:
        names, source = listed, root / str(layout.class_csv)
    if layout.none_class in names:
        names = [*(name for name in names if name != layout.none_class), str(layout.none_class)]
    if len(names) < 2:
        raise DataError(f"{source}: {len(names)} classes ({', '.join(names)}); at least two are needed")
    return names


def read_class_table(path: Path) -> list[str]:
    """The first column of a CSV. Raises DataError when it is unreadable or names a class twice."""
    try:
        names = pd.read_csv(path, dtype=str, keep_default_na=False).iloc[:, 0]
    except (OSError, ValueError, IndexError) as failure:
        raise DataError(f"{path}: cannot read the classes ({failure}); is this the competition's folder?") from None
    if repeated := names[names.duplicated()].tolist():
        raise DataError(f"{path}: class '{repeated[0]}' stands there more than once; name each once")
    return names.tolist()


def label_words(layout: ImageTable, text: str) -> list[str]:
    """The classes named in one label cell."""
    return split_labels(text, layout.separator) if layout.task == "multilabel" else [text]


def encode_labels(layout: ImageTable, labels: list[str], classes: list[str]) -> np.ndarray:
    """Label cells -> (n,) int64 class indices, or (n, C) bool for multilabel. Raises DataError for a strange class."""
    index = {name: column for column, name in enumerate(classes)}
    matrix = np.zeros((len(labels), len(classes)), dtype=bool)
    for row, text in enumerate(labels):
        for word in label_words(layout, text):
            if word not in index:
                raise DataError(f"row {row + 1} of the training table: class '{word}' is not among the {len(classes)} "
                                f"classes of {layout.class_csv or layout.train_csv}")
            matrix[row, index[word]] = True
    return matrix if layout.task == "multilabel" else matrix.argmax(axis=1).astype(np.int64)
