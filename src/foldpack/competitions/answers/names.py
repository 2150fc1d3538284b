"""Answers that are names of classes: one, any number, or the best few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foldpack.competitions.answers.form import CellRule, Form, Known, allowed_names, names_of, other_answers
from foldpack.data.answers import Answers
from foldpack.settings.answer_forms import ClassAnswer


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
