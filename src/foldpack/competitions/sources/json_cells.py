"""JSON as text cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foldpack.errors import DataError
from foldpack.files import failure_words

LONGEST_LIST = 16  # numbers of a list that is a cell, such as a box


def read_json_text(path: Path, encoding: str) -> str:
    """The text of a file; a byte order mark is skipped. Raises DataError."""
    try:
        return path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as failure:
        raise DataError(f"{path}: byte {failure.start} is no {encoding} ({failure.reason}); set encoding to that of "
                        "the file, such as latin-1 or utf-16") from None
    except LookupError:
        raise DataError(f"{path}: encoding '{encoding}' is unknown; write one that Python knows, such as utf-8 or "
                        "latin-1") from None
    except OSError as failure:
        raise DataError(f"{path}: cannot read it ({failure_words(failure)}); is this the competition's "
                        "folder?") from None


def parse_json(text: str, path: Path) -> Any:
    """The content of a file. Raises DataError."""
    try:
        return json.loads(text)
    except ValueError as failure:
        raise DataError(f"{path}: broken JSON ({failure}); take the file as it was downloaded") from None


def cell_text(value: Any) -> str | None:
    """A value as Python writes it: 7 is "7", 0.5 is "0.5", true is "true", null is ""; of a short list of numbers its
    JSON; None for what is no cell."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and len(value) <= LONGEST_LIST and all(isinstance(each, int | float) for each in value):
        return json.dumps(value)
    return None


def add_cells(columns: dict[str, list[str]], cells: dict[str, str], count: int) -> None:
    """Append a row to columns that have `count` rows; what a row lacks, and what earlier rows lack, is ""."""
    for name in cells.keys() - columns.keys():
        columns[name] = [""] * count
    for name, column in columns.items():
        column.append(cells.get(name, ""))
