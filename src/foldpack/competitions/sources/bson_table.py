"""Items that BSON documents hold, with their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foldpack.competitions.sources.json_cells import add_cells, cell_text
from foldpack.competitions.sources.text_table import TextTable
from foldpack.errors import DataError
from foldpack.files import failure_words


def read_bson_table(root: Path, split: str, file: str, pictures: str = "imgs", picture: str = "picture") -> TextTable:
    """A row a picture. Columns: the fields of its document that are cells; `offset`, where the document begins in the
    file, in bytes; `picture`, counted from 0. Raises DataError."""
    path = root / file
    try:
        import bson
    except ImportError:
        raise DataError(f"{path}: to read it, the package 'pymongo' is needed; install it with `pip install "
                        "'foldpack[bson]'`") from None
    columns: dict[str, list[str]] = {"offset": [], "picture": []}
    place: list[tuple[int, int]] = []
    try:
        with open(path, "rb") as stream:
            offset, number = 0, 0
            for document in bson.decode_file_iter(stream):
                number += 1
                cells = {name: cell for name, value in document.items() if (cell := cell_text(value)) is not None}
                for order, each in enumerate(list_of(document, pictures, path, number)):
                    if picture not in each:
                        raise DataError(f"{path}, document {number}: its picture {order} has no '{picture}', got: "
                                        f"{', '.join(each)}; set picture to the field that holds it")
                    add_cells(columns, {**cells, "offset": str(offset), "picture": str(order)}, len(place))
                    place.append((0, number))
                offset = stream.tell()
    except (OSError, bson.InvalidBSON) as failure:
        raise DataError(f"{path}: cannot read it ({failure_words(failure)}); complete the download") from None
    return TextTable(columns, [path], np.array(place, dtype=np.int32).reshape(-1, 2), "document")


def list_of(document: dict[str, Any], pictures: str, path: Path, number: int) -> list[Any]:
    """The pictures of a document. Raises DataError where it has no such list."""
    found = document.get(pictures)
    if not isinstance(found, list):
        raise DataError(f"{path}, document {number}: it has no list '{pictures}', got: {', '.join(document)}; set "
                        "pictures to the one that holds them")
    return found
