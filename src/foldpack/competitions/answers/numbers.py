"""Answers that are numbers: probabilities, values, grades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.form import CellRule, Fault, Form, Known, number_rule, other_answers
from foldpack.data.answers import Answers, number_texts
from foldpack.errors import DataError, did_you_mean
from foldpack.settings.answer_forms import GradesAnswer, ProbabilitiesAnswer, ProbabilityAnswer, ValuesAnswer

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


class ValuesForm(Form):
    """Numbers, a column each: that of the same name, or of the same place where the names are others."""

    answer: ValuesAnswer
    decisions = ("values",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return self.answer.columns

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`. Numbers beyond the range are cut to it."""
        if answers.numbers is None:
            raise other_answers(self, "names" if answers.objects is None else "objects")
        self.check_names(answers.columns)
        numbers, names = answers.numbers.astype(np.float64), list(answers.columns)
        if self.answer.range is not None:
            numbers = np.clip(numbers, self.answer.range[0], self.answer.range[1])
        named = set(names) == set(self.answer.columns)
        return {column: number_texts(numbers[:, names.index(column) if named else place])
                for place, column in enumerate(self.answer.columns)}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        return number_rule() if self.answer.range is None else number_rule(*self.answer.range)

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`."""
        if len(names) != len(self.answer.columns):
            raise DataError(f"answer.columns: {len(self.answer.columns)} columns ({', '.join(self.answer.columns)}) "
                            f"for {len(names)} values ({', '.join(names)}); each value needs its column")


class GradesForm(Form):
    """A whole number from 0 on: of values that were cut, or the class that is called so."""

    answer: GradesAnswer
    decisions = ("grades", "class")

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return [self.answer.column]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        if answers.objects is not None:
            raise other_answers(self, "objects")
        if answers.names is not None:
            return {self.answer.column: ["".join(words) for words in answers.names]}
        assert answers.numbers is not None
        if answers.numbers.dtype.kind not in "iu":
            raise other_answers(self, "numbers that are not cut into grades")
        return {self.answer.column: [str(grade) for grade in answers.numbers.reshape(-1).tolist()]}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        count = known.grades or len(known.classes)
        grades = {str(grade) for grade in range(count)}
        allowed = f"whole numbers from 0 to {count - 1}" if grades else "whole numbers from 0 on"

        def problem(cell: str) -> str:
            good = cell in grades if grades else cell.isascii() and cell.isdigit() and str(int(cell)) == cell
            return "" if good else f"'{cell}'; allowed: {allowed}"

        return problem


def probabilities_of(form: Form, answers: Answers) -> np.ndarray:
    """(n, m) float64 in [0, 1]: what a blend has beyond is cut. Raises DataError for names and objects."""
    if answers.numbers is None:
        raise other_answers(form, "names" if answers.objects is None else "objects")
    return np.clip(answers.numbers.astype(np.float64), 0, 1)
