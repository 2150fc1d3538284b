"""The tables of a download as columns of text, with their source: each CSV, JSON and BSON, of long ones a part."""

from __future__ import annotations

import codecs
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from foldpack.recognise.download.listing import Listing
from foldpack.recognise.findings import RecognitionError
from foldpack.settings.item_sources import BsonSource, CocoSource, CsvSource, ItemSource, RecordsSource

ROWS = 100_000  # of a head, about; rows that lie together stay together
BLOCK = 1_000  # of them
TABLES = 100  # those nearest the top
BSON_DOCUMENTS = 2_000
SEPARATORS = (",", "\t", ";", "|")
UTF8 = "utf-8"
UTF16 = "utf-16"  # told by the mark that it begins with
LATIN = "latin-1"  # reads anything


@dataclass(frozen=True)
class Head:
    """Rows of a table, from all over it. columns: all of one length, cells as written."""

    file: str  # the first, below the download's folder
    source: ItemSource
    columns: dict[str, list[str]]
    arrays: dict[str, int] = field(default_factory=dict)  # JSON: lists of numbers in each object, and how long
    whole: bool = True  # whether these are all rows

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values()), []))


def read_heads(listing: Listing) -> list[Head]:
    """The tables that can be read, those nearest the top first; files that are none are passed over."""
    heads: list[Head] = []
    for path in sorted(listing.tables, key=lambda path: path.count("/")):
        if len(heads) == TABLES:
            break
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".json" and is_beside_images(listing, path):
            continue
        read = {".csv": csv_head, ".tsv": csv_head, ".bson": bson_head}.get(suffix, json_head)
        head = read(listing.root, path)
        if head is not None and head.rows:
            heads.append(head)
    return heads


def is_beside_images(listing: Listing, path: str) -> bool:
    """Whether a JSON tells of one image only, whose name its own begins with."""
    stem = os.path.splitext(path.rpartition("/")[2])[0]
    return stem in listing.by_stem or any(stem[:place] in listing.by_stem for place, letter in enumerate(stem)
                                          if letter in "-_.")


def text_of_file(path: Path, size: int = -1) -> tuple[str, str]:
    """(text, encoding); what is no UTF-8 is read as Latin-1."""
    with open(path, "rb") as file:
        data = file.read(size)
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode(UTF16, errors="replace"), UTF16
    try:
        return data.decode("utf-8-sig"), UTF8
    except UnicodeDecodeError as failure:
        if size > 0 and failure.start > len(data) - 4:  # cut within a character
            return data[: failure.start].decode("utf-8-sig"), UTF8
        return data.decode(LATIN), LATIN


def csv_head(root: Path, file: str) -> Head | None:
    """None for a file whose first line does not name columns."""
    beginning, encoding = text_of_file(root / file, 1 << 20)
    first = beginning.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    csv.field_size_limit(sys.maxsize)
    read_as = "utf-8-sig" if encoding == UTF8 else encoding
    with open(root / file, encoding=read_as, newline="", errors="replace") as text:
        reader = csv.reader(text, delimiter=separator)
        names = next(reader, [])
        rows, whole = spread_rows(row for row in reader if len(row) == len(names))
    if not names or len(set(names)) != len(names) or not any(names):
        return None
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return Head(file, CsvSource(kind="csv", file=file, separator=separator, encoding=encoding), columns, whole=whole)


def spread_rows(rows: Iterable[list[str]]) -> tuple[list[list[str]], bool]:
    """(blocks of rows, evenly spread; whether these are all)."""
    kept: list[tuple[int, list[list[str]]]] = []
    waiting, stride = iter(rows), 1
    for number in count():
        block = list(islice(waiting, BLOCK))
        if not block:
            break
        if number % stride == 0:
            kept.append((number, block))
        if len(kept) > 2 * ROWS // BLOCK:
            stride *= 2
            kept = [(other, block) for other, block in kept if other % stride == 0]
    return [row for _, block in kept for row in block], stride == 1


def json_head(root: Path, file: str) -> Head | None:
    """COCO, a list of images, records, or an object a line; None for any other JSON."""
    text, encoding = text_of_file(root / file)
    try:
        data = json.loads(text)
    except ValueError:
        try:
            data = [json.loads(line) for line in islice(text.splitlines(), ROWS) if line.strip()]
        except ValueError:
            return None
    if isinstance(data, dict) and is_records(data.get("images")):
        return coco_head(file, data, encoding)
    if is_records(data) and "file_name" in data[0]:
        return coco_head(file, {"images": data}, encoding)
    return records_head(file, data, encoding) if is_records(data) else None


def is_records(data: object) -> bool:
    """Whether it is a list of objects."""
    return isinstance(data, list) and bool(data) and all(isinstance(each, dict) for each in data[:100])


def cell_text(value: object) -> str | None:
    """A value of JSON or BSON as a cell; None for one that is none."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else "" if value is None else None


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The fields that are cells in some row."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if cell_text(value))
    return {name: [cell_text(row.get(name)) or "" for row in rows] for name in names}


def coco_head(file: str, data: dict[str, Any], encoding: str) -> Head | None:
    """A row an annotation, or an image without one, with the columns that `CocoSource` tells of."""
    step = -(-len(data["images"]) // ROWS)
    images, notes = data["images"][::step], data.get("annotations") or []
    if "file_name" not in images[0]:
        return None
    key = "id" if "id" in images[0] else "image_id"
    kinds = data.get("categories") or []
    kind_key = "category_id" if kinds and "id" not in kinds[0] else "id"
    known = {str(kind.get(kind_key)): {f"category_{name}": value for name, value in kind.items() if name != kind_key}
             for kind in kinds}
    by_image: dict[str, list[dict]] = {}
    for note in notes:
        by_image.setdefault(str(note.get("image_id")), []).append(note)
    rows = []
    for image in images:
        plain = {"image_id": image[key], **{name: value for name, value in image.items() if name != key}}
        for note in by_image.get(str(image[key]), [{}]):
            told = {name: value for name, value in note.items() if name not in ("id", "image_id")}
            rows.append({**plain, **told, **known.get(str(note.get("category_id")), {})})
    source = CocoSource(kind="coco", file=file, image_key=key, category_key=kind_key, encoding=encoding)
    return Head(file, source, as_columns(rows), whole=step == 1)


def records_head(file: str, rows: list[dict[str, Any]], encoding: str) -> Head:
    """A row an object; lists of numbers are told of as arrays."""
    first = rows[0]
    arrays = {name: len(value) for name, value in first.items() if isinstance(value, list) and len(value) > 16
              and all(isinstance(number, int | float) for number in value[:16])}
    columns = as_columns(rows[:ROWS]) | {"row": [str(row) for row in range(len(rows[:ROWS]))]}
    return Head(file, RecordsSource(kind="records", file=file, encoding=encoding), columns, arrays, len(rows) <= ROWS)


def bson_documents(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(where it begins, document) of the first documents. Raises RecognitionError without the package."""
    try:
        import bson
    except ImportError:
        raise RecognitionError(f"{path}: BSON needs pymongo; install it: pip install 'foldpack[bson]'") from None
    with open(path, "rb") as file:
        for _ in range(BSON_DOCUMENTS):
            offset, size = file.tell(), file.read(4)
            if len(size) < 4:
                return
            yield offset, bson.decode(size + file.read(int.from_bytes(size, "little") - 4))


def bson_head(root: Path, file: str) -> Head | None:
    """A row a picture; None where no document has a list of pictures."""
    rows: list[dict[str, Any]] = []
    names: tuple[str, str] | None = None
    for offset, document in bson_documents(root / file):
        names = names or picture_fields(document)
        if names is None:
            return None
        plain = {name: value for name, value in document.items() if cell_text(value) is not None}
        rows += [{**plain, "offset": offset, "picture": number} for number in range(len(document[names[0]]))]
    if names is None:
        return None
    source = BsonSource(kind="bson", file=file, pictures=names[0], picture=names[1])
    return Head(file, source, as_columns(rows), whole=False)


def picture_fields(document: dict[str, Any]) -> tuple[str, str] | None:
    """(the list, the field of its elements that is an encoded image)."""
    for name, value in document.items():
        if is_records(value):
            for inner, data in value[0].items():
                if isinstance(data, bytes):
                    return name, inner
    return None
