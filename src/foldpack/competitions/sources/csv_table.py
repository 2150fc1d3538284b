"""Items that a CSV tells of."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from foldpack.competitions.answer_table import sample_form, written_rows
from foldpack.competitions.sources.text_table import TextTable, as_list
from foldpack.errors import DataError
from foldpack.files import failure_words

MOST_FILES = 8  # that a message names


def read_csv_table(
    root: Path, split: str, file: str | list[str], separator: str = ",", encoding: str = "utf-8"
) -> TextTable:
    """CSVs one below the other, which have the same columns in any order. A short row is filled up with "".

    Raises DataError where one cannot be read, has other columns, a column twice, or more values than columns in a row.
    """
    files = [root / each for each in as_list(file)]
    columns: dict[str, list[str]] = {}
    place: list[tuple[int, int]] = []
    for number, path in enumerate(files):
        header, rows = read_rows(path, separator, encoding)
        if number and sorted(header) != sorted(columns):
            raise DataError(f"{path}: columns {', '.join(header)}; needed: those of {files[0]}, {', '.join(columns)}")
        if repeated := [name for name in header if name and header.count(name) > 1]:
            raise DataError(f"{path}: column '{repeated[0]}' stands there twice; rename one of them")
        for at, name in enumerate(header):
            columns.setdefault(name, []).extend([row[at] for _, row in rows] if name else [])
        place += [(number, line) for line, _ in rows]
    columns.pop("", None)  # row numbers
    return TextTable(columns, files, np.array(place, dtype=np.int32).reshape(-1, 2))


def read_sample_table(root: Path, split: str, file: str, id: str) -> TextTable:
    """The rows of the sample submission, whose separator is found. id: a column of it. Raises DataError."""
    return read_csv_table(root, split, file, *sample_form(root / file, [id]))


def read_rows(path: Path, separator: str, encoding: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(columns, (line, values) of each row) of a CSV. Blank rows are left out. Raises DataError."""
    marked = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    try:
        with open(path, encoding=marked, newline="") as text:
            (_, header), *rows = list(written_rows(text, separator, strict=True)) or [(0, [])]
    except UnicodeDecodeError as failure:
        raise DataError(f"{path}: byte {failure.start} is no {encoding} ({failure.reason}); set encoding to that of "
                        "the file, such as latin-1 or utf-16") from None
    except LookupError:
        raise DataError(f"{path}: encoding '{encoding}' is unknown; write one that Python knows, such as utf-8 or "
                        "latin-1") from None
    except FileNotFoundError as failure:
        there = sorted(each.name for each in path.parent.glob("*.csv"))[:MOST_FILES]
        hint = f" There is: {', '.join(there)}" if there else ""
        raise DataError(f"{path}: cannot read the table ({failure_words(failure)}); is this the competition's "
                        f"folder?{hint}") from None
    except (OSError, ValueError, csv.Error) as failure:
        raise DataError(f"{path}: cannot read the table ({failure_words(failure)}); is this the competition's "
                        "folder?") from None
    if not header:
        raise DataError(f"{path}: cannot read the table (it has no columns); is this the competition's folder?")
    for line, row in rows:
        if len(row) > len(header):
            raise DataError(f"{path}: cannot read the table (line {line} has {len(row)} values for {len(header)} "
                            "columns); put quotes around a value that holds the separator")
        row += [""] * (len(header) - len(row))
    return header, rows
