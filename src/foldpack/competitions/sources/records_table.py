"""Items that a JSON list of objects tells of, or JSON with an object a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.sources.coco_table import scalar_cells
from foldpack.competitions.sources.json_cells import add_cells, parse_json, read_json_text
from foldpack.competitions.sources.text_table import TextTable, as_list
from foldpack.errors import DataError


def read_records_table(root: Path, split: str, file: str | list[str], encoding: str = "utf-8") -> TextTable:
    """A row an object. Columns: its fields that are cells, and `row`, counted from 0 in each file. Raises DataError."""
    files = [root / each for each in as_list(file)]
    columns: dict[str, list[str]] = {"row": []}
    place: list[tuple[int, int]] = []
    for number, path in enumerate(files):
        text = read_json_text(path, encoding)
        if text.lstrip().startswith("{"):
            content = [parse_json(line, path) for line in text.splitlines() if line.strip()]
        else:
            content = parse_json(text, path)
        if not isinstance(content, list):
            raise DataError(f"{path}: it is a {type(content).__name__}; needed: a list of objects, or an object a line")
        for row, each in enumerate(content):
            cells = scalar_cells(each, path, f"row {row}")
            add_cells(columns, {**cells, "row": str(row)}, len(place))
            place.append((number, row))
    return TextTable(columns, files, np.array(place, dtype=np.int32).reshape(-1, 2), "row")
