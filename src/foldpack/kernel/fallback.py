"""The submission that stands before any other: the training prior for every row that the sample submission asks for.

Standard library only, and from the spec as plain data: it is written before the libraries are imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldpack.competitions.answer_table import AnswerTable, read_answer_table, write_answers
from foldpack.competitions.image_table import ImageTable
from foldpack.competitions.registry import get_layout
from foldpack.engine.store import has_finished_units
from foldpack.errors import FoldpackError
from foldpack.kernel.inputs import find_competition
from foldpack.kernel.prior import prior_cell


@dataclass(frozen=True)
class Fallback:
    """Where the sample submission was found, what it asks for, and the prior's answer to each row."""

    layout: ImageTable
    root: Path  # the competition's folder
    path: Path  # submission.csv
    table: AnswerTable
    cell: str

    def write(self) -> None:
        """Replace the submission by the prior's."""
        self.remove_halves()
        write_answers(self.path, self.table, [self.cell] * len(self.table.rows))

    def stand(self, units: Path) -> bool:
        """Write it, unless a process before this one was cut off and left what may be better. Returns whether it has.

        units: where finished units lie. Only columns and ids are looked at; the classes come later, with the rest.
        """
        kept = has_finished_units(units) and self.is_answered()
        self.remove_halves()
        if not kept:
            self.write()
        return kept

    def remove_halves(self) -> None:
        """Remove what a process that was killed while writing has left beside the submission."""
        for half in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            half.unlink()

    def is_answered(self) -> bool:
        """Whether a submission with the sample's columns and ids is there, whatever it answers."""
        try:
            return self.table.asks_the_same(self.read())
        except FoldpackError:
            return False

    def holds(self) -> str:
        """What the submission that is there answers, for the log: the prior in every row, or more."""
        found = self.read()
        prior = all(row[found.answer_place] == self.cell for row in found.rows)
        return "the training prior" if prior else "what was finished"

    def read(self) -> AnswerTable:
        """The submission that is there. Raises DataError for none, or what is no such table."""
        return read_answer_table(self.path, self.layout.id_column, self.layout.label_column)


def make_fallback(spec: dict[str, Any], inputs: Path, output: Path) -> Fallback:
    """Find the sample submission below `inputs` and work out the prior's answer; nothing is written.

    spec: an ensemble as plain data. Raises InputError where there is no such competition, DataError for a sample
    submission that cannot be read.
    """
    layout = get_layout(spec["competition"])
    root = find_competition(inputs, layout, spec["slug"])
    table = read_answer_table(root / layout.sample_csv, layout.id_column, layout.label_column)
    stage = spec["stages"][-1]
    cell = prior_cell(stage["outputs"]["names"], stage["outputs"]["prior"], stage["decision"], layout.joiner)
    return Fallback(layout, root, output / "submission.csv", table, cell)
