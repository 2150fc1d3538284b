"""Pictures in a file of JSON: two bands end to end, each file read once, damage told of the records behind it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from reader_files import HEIGHT, WIDTH, lost, read, save_json
from test_dicom import scaled

from foldpack.data.geometry import CanvasKind
from foldpack.data.items import whole_images
from foldpack.data.readers import json_records
from foldpack.data.readers.json_records import JsonReader
from foldpack.predict.canvas import decode_items

READER = JsonReader(2, (-40.0, 10.0), ("band_1", "band_2"), (HEIGHT, WIDTH))


@pytest.fixture
def bands() -> np.ndarray:
    return np.random.default_rng(0).normal(-15, 12, (5, 2, HEIGHT, WIDTH)).round(3)


@pytest.mark.parametrize("lines", [False, True], ids=["a list", "an object a line"])
def test_each_record_has_its_bands(tmp_path: Path, bands: np.ndarray, lines: bool) -> None:
    path = save_json(tmp_path / "train.json", bands, lines)
    for row in range(5):
        assert np.array_equal(read(READER, path / str(row), 2), scaled(np.moveaxis(bands[row], 0, 2), -40, 10))
    assert lost(READER, path / "5", 2) == "there is no record '5' among 5"
    assert lost(READER, path / "x", 2) == "there is no record 'x' among 5"
    assert lost(READER, path / "0", 3).startswith("2 channels, and 3 are asked for")


def test_a_file_is_read_once_whoever_asks(tmp_path: Path, bands: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_json(tmp_path / "train.json", bands)
    read_files: list[Path] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: (read_files.append(self), real(self))[1])
    threads = [threading.Thread(target=read, args=(READER, path / str(row), 2)) for row in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = whole_images(list("abcde"), [path / str(row) for row in range(5)], reader=READER)
    canvas = decode_items(items, CanvasKind((HEIGHT, WIDTH), channels=2), 3)
    assert read_files == [path] and not canvas.reasons
    save_json(path, bands[:2])
    assert lost(READER, path / "4", 2) == "there is no record '4' among 2"  # a file that changed is read again


def test_records_before_the_damage_are_sound(tmp_path: Path, bands: np.ndarray) -> None:
    path = save_json(tmp_path / "train.json", bands)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert np.array_equal(read(READER, path / "1", 2), scaled(np.moveaxis(bands[1], 0, 2), -40, 10))
    said = lost(READER, path / "4", 2)
    assert said.startswith("the file is no JSON from character") and said.endswith("after 2 records")


@pytest.mark.parametrize(("record", "reason"), [
    ({"band_1": [0.0] * 192}, "the record has no field 'band_2'"),
    ({"band_1": [0.0] * 191, "band_2": []}, "field 'band_1' has 191 numbers; 12 x 16 need 192"),
    ({"band_1": "many", "band_2": []}, "field 'band_1' is no list of numbers"),
    ({"band_1": [[1], [2, 3]], "band_2": []}, "field 'band_1' is no list of numbers"),
])
def test_a_record_that_does_not_fit_is_lost_alone(tmp_path: Path, record: dict[str, object], reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([record, {"band_1": [[0.0] * WIDTH] * HEIGHT, "band_2": [-100.0] * 192}]))
    assert lost(READER, path / "0", 2) == reason
    assert read(READER, path / "1", 2)[0, 0].tolist() == [204, 0]


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, bands: np.ndarray,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_json(tmp_path / "train.json", bands)
    monkeypatch.setattr(json_records, "MAX_JSON_BYTES", 1000)
    assert lost(READER, path / "0", 2).endswith("; the limit is 1,000")
