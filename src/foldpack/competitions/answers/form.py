"""What every form of answer has: columns, a way to fill a sample submission, and rules for what may stand in one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from foldpack.competitions.answer_table import AnswerTable, blank_table
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.settings.answer_forms import AnswerForm
from foldpack.settings.stages import AnswerKind

FEW_NAMES = 8  # that a message lists
NUMBER_TEXT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")  # float() takes `1_0` and ` 1` too

CellRule = Callable[[str], str]  # cell -> what is wrong with it, such as "'x', which is no class"; "" where nothing is


@dataclass(frozen=True)
class Known:
    """What is known of a competition when a submission is checked. What is left out is not looked at."""

    classes: Sequence[str] = ()  # all of them
    grades: int | None = None  # so many, from 0 on
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # id -> height and width of its image, pixels
    ours: bool = False  # whether foldpack wrote it: then it has all that is allowed


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a submission."""

    what: str  # what is there and what is allowed
    row: int | None = None  # counted from 1, without the header; None: the file as a whole
    item: str = ""  # id in that row

    def line(self, path: Path) -> str:
        """As it is said of a file."""
        return f"{path}: {self.what}" if self.row is None else f"{path}: row {self.row}, id '{self.item}': {self.what}"


@dataclass(frozen=True)
class Form:
    """A way to answer. Here an item's cells stand in every row that asks for it."""

    answer: AnswerForm  # as `competition.yml` says it

    decisions: ClassVar[tuple[AnswerKind, ...]] = ()  # kinds of decisions that it can write; the first is the usual one

    @property
    def many_rows(self) -> bool:
        """Whether an item has as many rows as were found in it, and at least one."""
        return False

    @property
    def apart(self) -> list[str]:
        """Columns of the sample that tell the rows of an item apart; they are handed in as they stand there."""
        return []

    def columns(self, names: Sequence[str]) -> list[str]:
        """The columns that are answered. names: all classes, or those of the values."""
        raise NotImplementedError

    def columns_of(self, table: AnswerTable, names: Sequence[str]) -> list[str]:
        """The columns that a table answers. names: () where they are not known."""
        return self.columns(names)

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """Column -> one cell an item. Raises DataError for answers of another form."""
        raise NotImplementedError

    def rule(self, known: Known) -> CellRule:
        """What may stand in a cell."""
        raise NotImplementedError

    def check_names(self, names: Sequence[str]) -> None:
        """Raises DataError for classes that this form cannot tell. Called before anything is trained or packed."""

    def made_up(self, ids: Sequence[str], names: Sequence[str]) -> AnswerTable:
        """A sample submission that asks for these items. Raises DataError for names that this form cannot tell."""
        self.check_names(names)
        return blank_table(self.answer.id, self.columns(names), ids)

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """The whole submission. ids: what the sample calls the items that the answers are of, one each. sample: without
        columns that have no name. Raises DataError for a row that asks for another item, and for a missing column."""
        return sample.answered(ids, self.cells(answers))

    def notes(self, table: AnswerTable, known: Known) -> list[str]:
        """What is allowed in a submission, but odd."""
        return []

    def faults(self, table: AnswerTable, known: Known) -> Iterator[Fault]:
        """What is wrong with the cells of a submission, row by row."""
        rule, names = self.rule(known), self.columns_of(table, known.classes)
        columns = [(name, table.columns.index(name)) for name in names]
        for number, (item, row) in enumerate(zip(table.ids, table.rows, strict=True), 1):
            for name, place in columns:
                if said := rule(row[place]):
                    yield Fault(f"{name} is {said}", number, item)


def other_answers(form: Form, given: str) -> DataError:
    """What to say of answers that a form cannot write. given: what they are."""
    return DataError(f"an answer of kind '{form.answer.kind}' cannot be written from {given}; allowed decisions: "
                     f"{', '.join(form.decisions)}")


def names_of(form: Form, answers: Answers) -> list[list[str]]:
    """The names of each item. Raises DataError for numbers and objects."""
    if answers.names is None:
        raise other_answers(form, "numbers" if answers.objects is None else "objects")
    return answers.names


def objects_of(form: Form, answers: Answers) -> Rows:
    """The objects of each item. Raises DataError for names and numbers."""
    if answers.objects is None:
        raise other_answers(form, "names" if answers.numbers is None else "numbers")
    return answers.objects


def allowed_names(name: str, names: Sequence[str]) -> str:
    """What is allowed in place of a name, for the end of a message, however many there are."""
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    more = f" and {len(names) - FEW_NAMES} more" if len(names) > FEW_NAMES else ""
    return f"{hint}allowed: {', '.join(names[:FEW_NAMES])}{more}"


def number_rule(low: float = -math.inf, high: float = math.inf) -> CellRule:
    """A rule for cells that hold one finite number between two bounds, both allowed."""
    bounds = "a finite number" if math.isinf(low) and math.isinf(high) else f"numbers from {low:g} to {high:g}"

    def problem(cell: str) -> str:
        if not cell:
            return f"empty; allowed: {bounds}"
        if not NUMBER_TEXT.fullmatch(cell):
            return f"'{cell}', which is no number; allowed: {bounds}"
        value = float(cell)
        return "" if math.isfinite(value) and low <= value <= high else f"{cell}; allowed: {bounds}"

    return problem
