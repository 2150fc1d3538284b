"""Encoded pictures in a file of BSON documents: `test.bson/4711.2` is picture 2 of the document at byte 4711.

The file is never read whole: one document is, where its offset says.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foldpack.data.decode_bytes import UnfitBytes
from foldpack.data.readers.limits import MAX_FILE_BYTES
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import missing_package

LEAST_DOCUMENT = 5  # bytes: its length, and the end


@dataclass(frozen=True)
class BsonReader(PillowReader):
    """pictures: the list in a document; picture: the encoded image in an element of it."""

    pictures: str = "imgs"
    picture: str = "picture"

    def prepare(self, images: Sequence[Path]) -> None:
        """`Reader.prepare`."""
        try:
            import bson  # noqa: F401
        except ImportError:
            raise missing_package(images, "bson", "pymongo") from None

    def content(self, path: Path) -> bytes:
        """`PillowReader.content`."""
        import bson

        offset, dot, number = path.name.partition(".")
        if not (offset.isdecimal() and dot and number.isdecimal()):
            raise UnfitBytes(f"'{path.name}' is no place in a file of BSON; needed: the offset of a document, a dot, "
                             "the number of a picture")
        try:
            document = bson.decode(read_document(path.parent, int(offset)))
        except bson.errors.BSONError:
            raise UnfitBytes(f"there is no document of BSON at byte {offset}") from None
        listed = document.get(self.pictures)
        if not isinstance(listed, list) or int(number) >= len(listed):
            many = len(listed) if isinstance(listed, list) else 0
            raise UnfitBytes(f"the document has no picture {number}, but {many} in '{self.pictures}'")
        content = listed[int(number)].get(self.picture) if isinstance(listed[int(number)], dict) else None
        if not isinstance(content, bytes):
            raise UnfitBytes(f"picture {number} of the document has no bytes called '{self.picture}'")
        return content


def read_document(file: Path, offset: int) -> bytes:
    """One document. Raises OSError, or UnfitBytes where none begins or the file ends before it does."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnfitBytes("not a file")
    with open(file, "rb") as opened:
        opened.seek(offset)
        length = int.from_bytes(opened.read(4), "little")
        if not LEAST_DOCUMENT <= length <= min(MAX_FILE_BYTES, status.st_size - offset):
            raise UnfitBytes(f"there is no document of BSON at byte {offset} of {status.st_size:,}")
        opened.seek(offset)
        return opened.read(length)
