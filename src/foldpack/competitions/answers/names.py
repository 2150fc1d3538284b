"""Answers that are names of classes: one, any number, or the best few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.form import CellRule, Form, Known, allowed_names, names_of, other_answers
from foldpack.data.answers import Answers
from foldpack.errors import DataError
from foldpack.settings.answer_forms import ClassAnswer, LabelsAnswer, RankingAnswer


class ClassForm(Form):
    """The name of a class in one column."""

    answer: ClassAnswer
    decisions = ("class",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return [self.answer.column]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        said = names_of(self, answers)
        if any(len(words) != 1 for words in said):
            raise other_answers(self, f"{max(map(len, said))} classes of an item")
        return {self.answer.column: [self.answer.map.get(words[0], words[0]) for words in said]}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        return name_rule(told_names(known.classes, self.answer.map))


class LabelsForm(Form):
    """Any number of classes: their names joined in one column, or a column of 0 and 1 for each class."""

    answer: LabelsAnswer
    decisions = ("labels", "class")

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return told_names(names, self.answer.map) if self.answer.column is None else [self.answer.column]

    def columns_of(self, table: AnswerTable, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        if self.answer.column is None and not names:
            return [name for name in table.columns if name not in ("", self.answer.id)]
        return self.columns(names)

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        said = [told_names(words, self.answer.map) for words in names_of(self, answers)]
        if self.answer.column is not None:
            return {self.answer.column: [self.answer.separator.join(words) or self.answer.empty for words in said]}
        sets = [set(words) for words in said]
        return {name: [str(int(name in words)) for words in sets] for name in self.columns(answers.columns)}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        if self.answer.column is None:
            return lambda cell: "" if cell in ("0", "1") else f"'{cell}'; allowed: 0, 1"
        problem = joined_rule(told_names(known.classes, self.answer.map), self.answer.separator)
        empty = self.answer.empty

        def labels_problem(cell: str) -> str:
            if cell == empty:
                return ""
            return problem(cell) if cell else f"empty; allowed: names of classes, or '{empty}' for none"

        return labels_problem

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`."""
        if self.answer.column is not None:
            check_joinable(told_names(names, self.answer.map), self.answer.separator,
                           f"answer.separator is '{self.answer.separator}'")


class RankingForm(Form):
    """The best k classes, best first, joined in one column; all classes where there are fewer than k.

    A file of others may name fewer: metrics allow it, though a guess that is not made cannot be right.
    """

    answer: RankingAnswer
    decisions = ("ranking",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return [self.answer.column]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`. Where fewer were said, others follow in the order of the classes."""
        said = [list(dict.fromkeys([*words, *answers.columns]))[: self.answer.k] for words in names_of(self, answers)]
        return {self.answer.column: [self.answer.separator.join(words) for words in said]}

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        problem, separator = joined_rule(known.classes, self.answer.separator), self.answer.separator
        most = self.most(known)
        fewest, allowed = (most, f"{most}") if known.ours else (1, f"1 to {most}")

        def ranking_problem(cell: str) -> str:
            said = sum(bool(word.strip()) for word in cell.split(separator))  # a stray space is told as such
            good = fewest <= said <= most
            return problem(cell) if good else f"{said} classes, '{cell}'; allowed: {allowed}, each once"

        return ranking_problem

    def most(self, known: Known) -> int:
        """How many classes can be ranked."""
        return min(self.answer.k, len(known.classes) or self.answer.k)

    def notes(self, table: AnswerTable, known: Known) -> list[str]:
        """See `Form`."""
        cells, most = table.column(self.answer.column), self.most(known)
        fewer = sum(len(cell.split(self.answer.separator)) < most for cell in cells)
        said = f"{fewer} of {len(cells)} rows name fewer than {most} classes; more guesses cost nothing"
        return [said] if fewer else []

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`."""
        check_joinable(names, self.answer.separator, f"answer.separator is '{self.answer.separator}'")


def told_names(names: Sequence[str], mapped: Mapping[str, str]) -> list[str]:
    """What the answer calls classes, each once."""
    return list(dict.fromkeys(mapped.get(name, name) for name in names))


def name_rule(allowed: Sequence[str]) -> CellRule:
    """A rule for one name. allowed: () where nobody knows them; then it must be there, without blanks around it."""
    known = set(allowed)

    def problem(cell: str) -> str:
        if not cell:
            return "empty; allowed: the name of a class"
        if known and cell not in known:
            return f"'{cell}', which is no class; {allowed_names(cell, allowed)}"
        return f"'{cell}', which has blanks around it; write the name alone" if cell != cell.strip() else ""

    return problem


def joined_rule(allowed: Sequence[str], separator: str) -> CellRule:
    """A rule for names with exactly one separator between them, each once. allowed: () where nobody knows them."""
    rule = name_rule(allowed)
    sign = "a space" if separator == " " else f"'{separator}'"

    def problem(cell: str) -> str:
        words = cell.split(separator) if cell else []
        if "" in words or any(word != word.strip() for word in words):
            return f"'{cell}', which has a stray space or separator; allowed: exactly {sign} between two names"
        if len(set(words)) < len(words):
            twice = next(word for word in words if words.count(word) > 1)
            return f"'{cell}', which names '{twice}' twice; allowed: each class once"
        return next(filter(None, map(rule, words)), "")

    return problem


def check_joinable(names: Sequence[str], separator: str, told: str) -> None:
    """Raises DataError for a name that could not be told from two in a joined cell. told: what says the separator."""
    for name in names:
        if separator in name or name != name.strip() or not name:
            raise DataError(f"{told}, which class '{name}' has in it, or it has blanks around; allowed: names without; "
                            "say in answer.map what the answer calls it, or set another separator where there is one")
