"""Pictures that are lists of numbers in a JSON file of many records: `train.json/17` is record 17, counted from 0.

A file is read once in a process, record after record, and what is kept are its bytes, one a pixel and channel.
"""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.readers.arrays import ArrayFile, ArrayImage, ArrayReader
from foldpack.data.readers.stretch import BYTE_SPAN, Span, stretch

MAX_JSON_BYTES = 4 * 2**30  # of a file of records; it is held in memory while it is read
JSON_FILES = 4  # whose pictures are kept at a time
JSON_LOCK = threading.Lock()  # a file is read by one thread while the others wait for it
BETWEEN_RECORDS = re.compile(r"[\s,\[]*")


@dataclass(frozen=True)
class JsonFields:
    """Which numbers of a file's records are pictures."""

    file: Path
    size: int  # bytes
    time: int  # of its last change, ns
    arrays: tuple[str, ...]
    shape: tuple[int, int]
    span: Span


@dataclass(frozen=True)
class JsonPictures:
    """What a file holds. pictures: of each record (H, W, C) uint8, or why there is none; ending: why there are no more
    records, "" where the file ends as it should."""

    pictures: list[np.ndarray | str]
    ending: str


@dataclass(frozen=True)
class JsonReader(ArrayReader):
    """arrays: the fields with the numbers, a channel each; shape: height and width. Needs range."""

    arrays: tuple[str, ...] = ()
    shape: tuple[int, int] = (0, 0)

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`: read the files, which takes longer than an image may."""
        for file in list(dict.fromkeys(path.parent for path in images))[:JSON_FILES]:
            try:
                self.pictures(file)
            except Exception:  # told of each of its images
                continue

    def pictures(self, file: Path) -> JsonPictures:
        """All pictures of a file. Raises OSError, or UnfitBytes for one that is too large."""
        assert self.range is not None, "the settings see to it"
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnfitBytes("not a file")
        if status.st_size > MAX_JSON_BYTES:
            raise UnfitBytes(f"a file of {status.st_size:,} bytes; the limit is {MAX_JSON_BYTES:,}")
        with JSON_LOCK:
            return json_pictures(JsonFields(file, status.st_size, status.st_mtime_ns, self.arrays, self.shape,
                                            self.range))

    def open(self, path: Path) -> ArrayFile:
        """`ArrayReader.open`."""
        found = self.pictures(path.parent)
        row = int(path.name) if path.name.isdecimal() else -1
        if not 0 <= row < len(found.pictures):
            raise UnfitBytes(found.ending or f"there is no record '{path.name}' among {len(found.pictures)}")
        picture = found.pictures[row]
        if isinstance(picture, str):
            raise UnfitBytes(picture)
        height, width, channels = picture.shape
        return ArrayFile(height, width, channels, partial(ArrayImage, picture, BYTE_SPAN))


@lru_cache(maxsize=JSON_FILES)
def json_pictures(fields: JsonFields) -> JsonPictures:
    """Read a file of JSON: a list of records, or a record a line. Raises OSError."""
    text = fields.file.read_bytes().decode("utf-8-sig", errors="replace")
    decoder, pictures, ending = json.JSONDecoder(), [], ""
    position = BETWEEN_RECORDS.match(text, 0).end()  # type: ignore[union-attr]
    while position < len(text) and text[position] == "{":
        try:
            record, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        pictures.append(json_picture(record, fields))
        position = BETWEEN_RECORDS.match(text, position).end()  # type: ignore[union-attr]
    if text[position:].strip() not in ("", "]"):
        ending = f"the file is no JSON from character {position:,} on, after {len(pictures)} records"
    return JsonPictures(pictures, ending)


def json_picture(record: dict[str, object], fields: JsonFields) -> np.ndarray | str:
    """(H, W, C) uint8 of one record, or why there is none."""
    height, width = fields.shape
    planes = []
    for name in fields.arrays:
        if name not in record:
            return f"the record has no field '{name}'"
        try:
            numbers = np.asarray(record[name], dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            return f"field '{name}' is no list of numbers"
        if numbers.size != height * width:
            return f"field '{name}' has {numbers.size} numbers; {height} x {width} need {height * width}"
        planes.append(stretch(numbers.reshape(height, width), fields.span))
    return np.stack(planes, axis=-1)
