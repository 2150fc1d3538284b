"""The table that a sample submission asks for, read and answered with the standard library alone.

The kernel's first part uses it before pandas is imported. It reads what `pandas.read_csv(dtype=str,
keep_default_na=False)` reads, and writes what `to_csv` writes, to the byte; only names of columns that are empty or
stand there twice are kept here, where pandas makes up others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldpack.errors import DataError
from foldpack.files import failure_words, write_atomic

SEPARATORS = (",", ";", "\t", "|")  # that a sample submission may have; a submission has the first
BEGINNINGS = {  # of files that are no text in UTF-8 -> what they are, and what to do
    b"PK\x03\x04": "it is a ZIP archive: unpack it",
    b"\x1f\x8b": "it is packed with gzip: unpack it",
    b"\x89PNG": "it is a PNG image",
    b"\xff\xd8\xff": "it is a JPEG image",
    b"PAR1": "it is Parquet: write it as CSV",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
}
LONGEST_CELL = 1 << 30  # characters; the standard library refuses more than 131,072 unless told otherwise


@dataclass(frozen=True)
class AnswerTable:
    """Rows and columns of a sample submission, in its order, every value a str as it stands there."""

    columns: list[str]
    rows: list[list[str]]  # each as long as `columns`
    id_place: int  # of the ids among the columns
    places: dict[str, int]  # column to be answered -> its place

    @property
    def ids(self) -> list[str]:
        """The items to answer; one that is asked for twice stands here twice."""
        return [row[self.id_place] for row in self.rows]

    def cells(self) -> dict[str, list[str]]:
        """What stands in the columns to be answered."""
        return {name: self.column(name) for name in self.places}

    def column(self, name: str) -> list[str]:
        """The cells of a column. Raises ValueError where there is none."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def named(self) -> AnswerTable:
        """Without the columns that have no name: row numbers, which are not handed in."""
        kept = [place for place, name in enumerate(self.columns) if name]
        columns = [self.columns[place] for place in kept]
        rows = self.rows if len(kept) == len(self.columns) else [[row[place] for place in kept] for row in self.rows]
        places = {name: columns.index(name) for name in self.places}
        return AnswerTable(columns, rows, kept.index(self.id_place), places)

    def filled(self, cells: Mapping[str, Sequence[str]]) -> AnswerTable:
        """With these cells, by column, one a row; all other columns stay. Raises ValueError for another number of
        cells, DataError for a column that is not there."""
        if any(len(column) != len(self.rows) for column in cells.values()):
            raise ValueError(f"{[len(column) for column in cells.values()]} answers for {len(self.rows)} rows")
        if strange := [name for name in cells if name not in self.columns]:
            raise DataError(f"the sample submission has no column '{strange[0]}', got: {', '.join(self.columns)}; each "
                            "answer needs its column")
        places = {name: self.columns.index(name) for name in cells}
        rows = [list(row) for row in self.rows]
        for name, place in places.items():
            for row, cell in zip(rows, cells[name], strict=True):
                row[place] = cell
        return AnswerTable(self.columns, rows, self.id_place, places)

    def answered(self, ids: Sequence[str], cells: Mapping[str, Sequence[str]]) -> AnswerTable:
        """With these cells, by column, one an item, in every row that asks for the item. Raises DataError for an id
        that is not among the items."""
        rows = self.rows_of(ids)
        return self.filled({name: [column[row] for row in rows] for name, column in cells.items()})

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """Where the item that each row asks for stands among these. Raises DataError for one that is not there."""
        place = {item: number for number, item in reversed(list(enumerate(ids)))}
        if strange := [item for item in self.ids if item not in place]:
            raise DataError(f"id '{strange[0]}' of the sample submission is none of the {len(ids)} items that were "
                            "predicted; is it the sample of these images?")
        return [place[item] for item in self.ids]

    def text(self) -> str:
        """The CSV."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.columns, *self.rows])
        return out.getvalue()

    def asks_the_same(self, other: AnswerTable) -> bool:
        """Whether another table has the same columns and the same ids, in the same order."""
        return self.columns == other.columns and self.ids == other.ids


def blank_table(id_column: str, answers: Sequence[str], ids: Sequence[str]) -> AnswerTable:
    """A sample submission that asks for these items, a row each, with nothing in the columns to be answered."""
    places = {name: place for place, name in enumerate(answers, 1)}
    return AnswerTable([id_column, *answers], [[item, *[""] * len(answers)] for item in ids], 0, places)


def read_sample(path: Path, id_column: str, answers: Sequence[str] = ()) -> AnswerTable:
    """Read a sample submission, whatever separator and mark of UTF-16 it has. Raises DataError as
    `read_answer_table`."""
    return read_answer_table(path, id_column, answers, *sample_form(path, [id_column, *answers]))


def sample_form(path: Path, wanted: Sequence[str]) -> tuple[str, str]:
    """(separator, encoding) of a sample submission: the separator that its first row has these columns with, else the
    comma; UTF-16 where the file begins with its mark."""
    encoding = "utf-16" if beginning_of(path).startswith("it is UTF-16") else "utf-8-sig"
    fits = (mark for mark in SEPARATORS if set(wanted) <= set(read_columns(path, mark, encoding)))
    return next(fits, SEPARATORS[0]), encoding


def beginning_of(path: Path) -> str:
    """What a file is, by its first bytes, where it is no text in UTF-8; "" where nothing is known of it."""
    try:
        with open(path, "rb") as file:
            first = file.read(4)
    except OSError:
        return ""
    return next((what for mark, what in BEGINNINGS.items() if first.startswith(mark)), "")


def read_answer_table(
    path: Path, id_column: str, answers: Sequence[str], separator: str = ",", encoding: str = "utf-8-sig"
) -> AnswerTable:
    """Read a CSV with these columns to be answered. A short row is filled up with "". Raises DataError when it is
    unreadable, lacks a column, or has a row with more values than the header has names."""
    try:
        with open(path, encoding=encoding, newline="") as file:
            numbered = list(written_rows(file, separator))
    except OSError as failure:
        raise DataError(f"{path}: cannot read the table ({failure_words(failure)}); is this the competition's "
                        "folder?") from None
    except (ValueError, csv.Error) as failure:
        why = beginning_of(path) or failure_words(failure)
        raise DataError(f"{path}: cannot read the table ({why}); needed: a CSV in UTF-8") from None
    if not numbered:
        raise DataError(f"{path}: the file is empty; needed: a first row with the columns "
                        f"{', '.join([id_column, *answers])}, and a row for each item")
    columns = numbered[0][1]
    for name in (id_column, *answers):
        if name not in columns:
            raise DataError(f"{path}: column '{name}' is missing, got: {', '.join(columns)}; "
                            f"needed: {', '.join([id_column, *answers])}{column_hint(columns, name)}")
    rows = []
    for line, row in numbered[1:]:
        if len(row) > len(columns):
            raise DataError(f"{path}: cannot read the table (line {line} has {len(row)} values for {len(columns)} "
                            "columns); put quotes around a value with a comma in it")
        rows.append(row + [""] * (len(columns) - len(row)))
    return AnswerTable(columns, rows, columns.index(id_column), {name: columns.index(name) for name in answers})


def column_hint(columns: Sequence[str], name: str) -> str:
    """Why a column seems to be missing: other separators, or blanks around its name; else ""."""
    for mark in SEPARATORS[1:]:
        if len(columns) == 1 and name in columns[0].split(mark):
            return f"; its columns are parted by {repr(mark)}: write commas"
    if near := next((column for column in columns if column.strip(" \"'").lower() == name.lower()), None):
        return f"; '{near}' differs from it in blanks, quotes or capitals: write '{name}'"
    return ""


def written_rows(
    lines: Iterator[str] | io.TextIOBase, separator: str = ",", strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """(line, values) of each row of a CSV but blank ones, and those of blanks and tabs only. Raises csv.Error.

    strict: also for a quote that is not closed."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(lines, delimiter=separator, strict=strict)
    for row in reader:
        if len(row) > 1 or (row and (not row[0] or row[0].strip(" \t"))):
            yield reader.line_num, row


def read_columns(path: Path, separator: str = ",", encoding: str = "utf-8-sig") -> list[str]:
    """The names of a CSV's columns; none for a file that cannot be read."""
    try:
        with open(path, encoding=encoding, newline="") as file:
            return next(written_rows(file, separator), (0, []))[1]
    except (OSError, ValueError, csv.Error):
        return []


def write_answers(path: Path, table: AnswerTable) -> None:
    """Replace the submission atomically: at every moment the file is absent or valid.

    Raises DataError where it cannot be written.
    """
    try:
        write_atomic(path, table.text())
    except OSError as failure:
        raise DataError(f"{path}: cannot be written ({failure}); give a folder that has room and may be "
                        "written") from None
