"""The submission that stands before any other: what the deploy wrote for a row of which nothing is known, in every row.

Standard library only, and from the spec as plain data: it is written before the libraries are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldpack.competitions.answer_table import AnswerTable, read_answer_table, read_sample, write_answers
from foldpack.engine.store import has_finished_units
from foldpack.errors import FoldpackError
from foldpack.kernel.inputs import find_competition


@dataclass(frozen=True)
class Fallback:
    """Where the sample submission was found, what it asks for, and the prior's answer to each row."""

    root: Path  # the competition's folder
    sample: Path
    path: Path  # submission.csv
    table: AnswerTable
    cells: dict[str, str]  # answer column -> the cell of every row

    def write(self) -> None:
        """Replace the submission by the prior's."""
        self.remove_halves()
        rows = len(self.table.rows)
        write_answers(self.path, self.table.filled({name: [cell] * rows for name, cell in self.cells.items()}))

    def stand(self, units: Path, is_valid: Callable[[], bool] | None = None) -> bool:
        """Write it, unless a process before this one was cut off and left what may be better. Returns whether it has.

        units: where finished units of the last stage lie; is_valid: of the submission that is there. Without it only
        columns and ids are looked at.
        """
        kept = has_finished_units(units) and (is_valid or self.is_answered)()
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
        cells = self.read().cells()
        prior = all(set(column) <= {self.cells[name]} for name, column in cells.items())
        return "the training prior" if prior else "what was finished"

    def read(self) -> AnswerTable:
        """The submission that is there. Raises DataError for none, or what is no such table."""
        return read_answer_table(self.path, self.table.columns[self.table.id_place], list(self.cells))


def make_fallback(spec: dict[str, Any], inputs: Path, output: Path) -> Fallback:
    """Find the sample submission below `inputs`; nothing is written.

    spec: a sealed ensemble as plain data. Raises InputError where there is no such competition, DataError for a sample
    submission that cannot be read.
    """
    asked = spec["table"]
    root = find_competition(inputs, asked["sample"], [asked["id_column"], *asked["columns"]], spec["slug"])
    sample = root / asked["sample"]
    table = read_sample(sample, asked["id_column"], asked["columns"]).named()
    return Fallback(root, sample, output / "submission.csv", table, spec["fallback"])
