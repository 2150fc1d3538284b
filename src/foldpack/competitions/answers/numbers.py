"""Answers that are numbers: probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.form import CellRule, Fault, Form, Known, number_rule, other_answers
from foldpack.data.answers import Answers, number_texts
from foldpack.errors import DataError, did_you_mean
from foldpack.settings.answer_forms import ProbabilitiesAnswer, ProbabilityAnswer

SUM_TOLERANCE = 1e-4  # by which the probabilities of an item may miss 1, where they must sum to it


class ProbabilityForm(Form):
    """The probability of one class in one column."""

    answer: ProbabilityAnswer
    decisions = ("probs",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return [self.answer.column]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        self.check_names(answers.columns)
        numbers = probabilities_of(self, answers)[:, list(answers.columns).index(self.answer.of)]
        return {self.answer.column: number_texts(numbers)}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        return number_rule(0, 1)

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`."""
        if self.answer.of not in names:
            raise DataError(f"answer.of is '{self.answer.of}', which is none of the classes: "
                            f"{did_you_mean(self.answer.of, list(names))}")


class ProbabilitiesForm(Form):
    """A column of probabilities for each class. A column of the sample that is of no class stays as it is."""

    answer: ProbabilitiesAnswer
    decisions = ("probs",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        mapped = self.answer.columns
        return list(names) if mapped is None else [mapped[name] for name in names if name in mapped]

    def columns_of(self, table: AnswerTable, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        if self.answer.columns is not None:
            return list(self.answer.columns.values())
        return list(names) or [name for name in table.columns if name not in ("", self.answer.id)]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        self.check_names(answers.columns)
        numbers = probabilities_of(self, answers)
        if self.answer.sums_to_1:
            sums = numbers.sum(axis=1, keepdims=True)
            numbers = np.where(sums > 0, numbers / np.where(sums > 0, sums, 1), 1 / numbers.shape[1])
        return {name: number_texts(numbers[:, place]) for place, name in enumerate(self.columns(answers.columns))}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        return number_rule(0, 1)

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`."""
        mapped = self.answer.columns
        if mapped is None:
            return
        for name, others in [(name, list(mapped)) for name in names] + [(name, list(names)) for name in mapped]:
            if name not in others:
                where = "is no class" if name in mapped else "has no column"
                raise DataError(f"answer.columns: '{name}' {where}; each class needs its column: "
                                f"{did_you_mean(name, others)}")

    def faults(self, table: AnswerTable, known: Known) -> Iterator[Fault]:
        """See `Form`."""
        rule, names = self.rule(known), self.columns_of(table, known.classes)
        places = [table.columns.index(name) for name in names]
        for number, (item, row) in enumerate(zip(table.ids, table.rows, strict=True), 1):
            cells = [row[place] for place in places]
            wrong = [f"{name} is {said}" for name, said in zip(names, map(rule, cells), strict=True) if said]
            if wrong:
                yield Fault(wrong[0], number, item)
            elif self.answer.sums_to_1 and abs((total := sum(map(float, cells))) - 1) > SUM_TOLERANCE:
                yield Fault(f"its {len(cells)} probabilities sum to {total:.6g}; allowed: 1, give or take "
                            f"{SUM_TOLERANCE:g}", number, item)


def probabilities_of(form: Form, answers: Answers) -> np.ndarray:
    """(n, m) float64 in [0, 1]: what a blend has beyond is cut. Raises DataError for names and objects."""
    if answers.numbers is None:
        raise other_answers(form, "names" if answers.objects is None else "objects")
    return np.clip(answers.numbers.astype(np.float64), 0, 1)
