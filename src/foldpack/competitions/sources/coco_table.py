"""Items that JSON in the form of COCO tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foldpack.competitions.sources.json_cells import add_cells, cell_text, parse_json, read_json_text
from foldpack.competitions.sources.text_table import TextTable, as_list
from foldpack.errors import DataError


def read_coco_table(
    root: Path, split: str, file: str | list[str], image_key: str = "id", category_key: str = "id",
    encoding: str = "utf-8"
) -> TextTable:
    """A row an annotation, and one for an image without any. Columns: `image_id`, the other fields of an image, those
    of an annotation (with `annotation_` before a name that images have too), and `category_` with those of a category.

    Raises DataError for a file that is none, and for an annotation of an image or category that is not there.
    """
    files = [root / each for each in as_list(file)]
    columns: dict[str, list[str]] = {"image_id": []}
    place: list[tuple[int, int]] = []
    for number, path in enumerate(files):
        content = parse_json(read_json_text(path, encoding), path)
        parts = {"images": content} if isinstance(content, list) else content
        if not isinstance(parts, dict) or "images" not in parts:
            raise DataError(f"{path}: it has no 'images'; needed: a list of images, or an object with images, "
                            "annotations and categories")
        categories = named_rows(parts.get("categories") or [], category_key, path, "categories")
        kinds = {item: {f"category_{name}": cell for name, cell in cells.items() if name != category_key}
                 for item, cells in categories.items()}
        notes: dict[str, list[dict[str, str]]] = {}
        images = named_rows(parts["images"], image_key, path, "images")
        for place_of, note in enumerate(parts.get("annotations") or [], 1):
            cells = scalar_cells(note, path, f"annotation {place_of}")
            if cells.get("image_id") not in images:
                raise DataError(f"{path}, annotation {place_of}: its image_id is '{cells.get('image_id', '')}', which "
                                f"is no {image_key} of an image; set image_key to what annotations name, or complete "
                                "the file")
            if kinds and "category_id" in cells and cells["category_id"] not in kinds:
                raise DataError(f"{path}, annotation {place_of}: its category_id is '{cells['category_id']}', which is "
                                f"no {category_key} of a category; set category_key to what annotations name, or "
                                "complete the file")
            notes.setdefault(cells["image_id"], []).append(cells)
        for place_of, (item, image) in enumerate(images.items(), 1):
            shown = {"image_id": item, **{name: cell for name, cell in image.items() if name != image_key}}
            for note in notes.get(item, [{}]):
                row = {f"annotation_{name}" if name in shown or name == "id" else name: cell
                       for name, cell in note.items() if name != "image_id"}
                row |= {name: cell for name, cell in kinds.get(note.get("category_id", ""), {}).items()
                        if name not in row}
                add_cells(columns, {**row, **shown}, len(place))
                place.append((number, place_of))
    return TextTable(columns, files, np.array(place, dtype=np.int32).reshape(-1, 2), "image")


def named_rows(rows: list[Any], key: str, path: Path, what: str) -> dict[str, dict[str, str]]:
    """Objects by one of their fields. Raises DataError for one without it, and where two have the same."""
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 1):
        cells = scalar_cells(row, path, f"{what} {number}")
        if key not in cells:
            raise DataError(f"{path}, {what} {number}: it has no '{key}', got: {', '.join(cells)}; set "
                            f"{'image_key' if what == 'images' else 'category_key'} to one of these")
        if cells[key] in found:
            raise DataError(f"{path}, {what} {number}: {key} '{cells[key]}' stands there more than once; keep one of "
                            "them")
        found[cells[key]] = cells
    return found


def scalar_cells(row: Any, path: Path, what: str) -> dict[str, str]:
    """The fields of an object that are cells. Raises DataError for what is no object."""
    if not isinstance(row, dict):
        raise DataError(f"{path}, {what}: it is a {type(row).__name__}; needed: an object with fields")
    return {name: cell for name, value in row.items() if (cell := cell_text(value)) is not None}
