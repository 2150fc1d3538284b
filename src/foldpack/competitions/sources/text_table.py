"""The one table that every source of items becomes: columns of text, as it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.errors import DataError, did_you_mean

BRACES = re.compile(r"\{([^{}]*)\}")
ANY_TEXT = "\0"  # what a rendered path has where its template has `*`


@dataclass(frozen=True, eq=False)
class TextTable:
    """Cells by column, all text; "" where there is none. `where` says of each row in which file it stands."""

    columns: dict[str, list[str]]
    files: list[Path]  # that it was read from
    place: np.ndarray  # (n, 2) int32 of each row: which file, and the line or entry there
    unit: str = "line"  # what the second number counts

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.place)

    @property
    def source(self) -> Path:
        """The first file, for messages on the whole."""
        return self.files[0]

    def where(self, row: int) -> str:
        """`data/train.csv, line 3`: for messages on a row."""
        file, number = self.place[row].tolist()
        return f"{self.files[file]}, {self.unit} {number}" if self.unit else str(self.files[file])

    def column(self, name: str, what: str = "column") -> list[str]:
        """The cells of a column. what: how messages call it. Raises DataError with the nearest name."""
        if name not in self.columns:
            raise DataError(self.lacks(name, what))
        return self.columns[name]

    def lacks(self, name: str, what: str = "column") -> str:
        """What to say of a column that is not there."""
        got = [each for each in self.columns if each]
        if len(got) == 1 and (sign := next((sign for sign in ";\t|," if sign in got[0]), "")):
            shown = "a tab" if sign == "\t" else f"'{sign}'"
            return (f"{self.source}: {what} '{name}' is missing, and the whole header '{got[0]}' is one column; set "
                    f"separator to {shown}")
        return f"{self.source}: {what} '{name}' is missing: {did_you_mean(name, got)}"

    def taken(self, rows: Sequence[int]) -> TextTable:
        """Some rows, in this order."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return TextTable(columns, self.files, self.place[np.asarray(rows, dtype=np.int64)], self.unit)

    def chosen(self, where: Mapping[str, str | list[str]]) -> TextTable:
        """The rows whose cells are those, or one of those. Raises DataError for a column that is not there, and where
        no row is left."""
        table = self
        for name, wanted in where.items():
            cells, words = table.column(name), {wanted} if isinstance(wanted, str) else set(wanted)
            rows = [row for row, cell in enumerate(cells) if cell in words]
            if len(table) and not rows:
                raise DataError(f"{self.source}: where: no row has {' or '.join(map(repr, sorted(words)))} in column "
                                f"'{name}', which has '{cells[0]}', for example; write one that is there")
            table = table.taken(rows)
        return table

    def parsed(self, parse: Mapping[str, str | list[str]], split: str) -> TextTable:
        """With further columns that patterns take out of cells. An empty cell gives empty ones.

        Raises DataError for a cell that fits no pattern of its column.
        """
        columns = dict(self.columns)
        for name, patterns in parse.items():
            cells = TextTable(columns, self.files, self.place, self.unit).column(name, "parse: column")
            known = [text_pattern(each, split) for each in ([patterns] if isinstance(patterns, str) else patterns)]
            fields = list(dict.fromkeys(field for pattern in known for field in pattern.groupindex))
            if taken := [field for field in fields if field in columns]:
                raise DataError(f"{self.source}: parse.{name}: there is a column '{taken[0]}' already; call the part "
                                "otherwise")
            columns |= {field: [""] * len(self) for field in fields}
            for row, cell in enumerate(cells):
                found = next((match for pattern in known if (match := pattern.fullmatch(cell))), None)
                if found is None and cell:
                    raise DataError(f"{self.where(row)}: {name} '{cell}' does not fit the pattern "
                                    f"{' or '.join(repr(each) for each in as_list(patterns))}; change it in parse, or "
                                    "give several")
                for column, text in found.groupdict().items() if found else ():
                    columns[column][row] = text or ""
        return TextTable(columns, self.files, self.place, self.unit)

    def rendered(self, template: str, split: str, what: str) -> list[str]:
        """A template's text for every row. what: which template, for messages. Raises DataError for a column that is
        not there."""
        parts = BRACES.split(template.replace("*", ANY_TEXT))
        filled: list[list[str]] = []
        for number, part in enumerate(parts):
            literal = split if number % 2 and part == "split" else part
            plain = number % 2 == 0 or part == "split"
            filled.append([literal] * len(self) if plain else self.column(part, f"{what} '{template}': column"))
        return ["".join(words) for words in zip(*filled, strict=True)]


def as_list(texts: str | list[str]) -> list[str]:
    """One text, or several, as a list."""
    return [texts] if isinstance(texts, str) else texts


def text_pattern(pattern: str, split: str) -> re.Pattern[str]:
    """A pattern with `{column}` and `*` for any text without a slash; the first takes as little as it can. A column
    that stands there again has the same text."""
    parts, seen = BRACES.split(pattern), set[str]()
    text = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            text += "[^/]*?".join(map(re.escape, part.split("*")))
        elif part == "split":
            text += re.escape(split)
        else:
            text += f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+?)"
            seen.add(part)
    return re.compile(text, re.DOTALL)
