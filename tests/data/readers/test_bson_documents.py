"""Pictures in a file of BSON: one to four a document, each found by its place, no file read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from reader_files import HEIGHT, WIDTH, encoded, lost, noise, read, save_bson

from foldpack.data.readers.bson_documents import BsonReader

READER = BsonReader()


def test_each_picture_of_a_document_is_found_by_its_place(tmp_path: Path) -> None:
    pictures = [[noise((HEIGHT, WIDTH, 3), seed=10 * row + k) for k in range(1 + row)] for row in range(4)]
    places = save_bson(tmp_path / "test.bson", [list(map(encoded, listed)) for listed in pictures])
    assert len(places) == 10
    for place, picture in zip(places, [each for listed in pictures for each in listed], strict=True):
        assert np.array_equal(read(READER, tmp_path / "test.bson" / place, 3), picture)


def test_pictures_are_read_with_all_forensics(tmp_path: Path) -> None:
    content = encoded(noise((64, 64, 3)), "JPEG")
    places = save_bson(tmp_path / "a.bson", [[content, content[: len(content) // 4], b"", b"no image"]])
    said = [lost(READER, tmp_path / "a.bson" / place) for place in places[1:]]
    assert said[1:] == ["the file is empty", "it begins like no image that can be read"]
    assert read(READER, tmp_path / "a.bson" / places[0], 3, (64, 64)).std() > 10


def test_only_the_document_is_read(tmp_path: Path) -> None:
    first = save_bson(tmp_path / "a.bson", [[encoded(noise((HEIGHT, WIDTH)))]])[0]
    with open(tmp_path / "a.bson", "ab") as file:
        file.truncate(3 * 2**30)  # a hole: the file is larger than any that is read whole
    assert read(READER, tmp_path / "a.bson" / first, 1).shape == (HEIGHT, WIDTH, 1)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.bson"
    place = save_bson(path, [[encoded(noise((HEIGHT, WIDTH)))]])[0]
    size = path.stat().st_size
    assert lost(READER, path / "0.1") == "the document has no picture 1, but 1 in 'imgs'"
    assert lost(READER, path / "4.0") == f"there is no document of BSON at byte 4 of {size:,}"
    assert lost(READER, path / f"{size + 9}.0") == f"there is no document of BSON at byte {size + 9} of {size:,}"
    assert lost(READER, path / "zero").startswith("'zero' is no place in a file of BSON")
    assert lost(BsonReader(pictures="images"), path / place) == "the document has no picture 0, but 0 in 'images'"
    assert lost(BsonReader(picture="png"), path / place) == "picture 0 of the document has no bytes called 'png'"
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert "there is no document of BSON at byte 0" in lost(READER, path / place)
