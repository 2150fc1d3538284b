"""What holds of every reader: made by the settings, of plain values, and no damage is ever an exception."""

from __future__ import annotations

import logging
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from reader_files import HEIGHT, WIDTH, encoded, noise, save_bson, save_dicom, save_json

from foldpack.data.decode import decode_crops, decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import whole_images
from foldpack.data.readers.bson_documents import BsonReader
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.json_records import JsonReader
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.pillow import PillowReader
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.registry import READERS, make_reader
from foldpack.data.readers.tiff import TiffReader
from foldpack.errors import DataError
from foldpack.predict.canvas import decode_items
from foldpack.settings.competition import ImagesConfig
from foldpack.settings.item_sources import BsonSource
from foldpack.settings.run import ConfigError
from foldpack.settings.strict_model import parse_strict

SHAPE = (HEIGHT, WIDTH)


def json_images(**more: object) -> dict[str, object]:
    return {"reader": "json", "arrays": ["band_1", "band_2"], "shape": [HEIGHT, WIDTH], "range": [-40, 10], **more}


@pytest.mark.parametrize(("images", "reader"), [
    ({}, PillowReader()),
    ({"channels": 1, "range": [0, 4095]}, PillowReader(1, (0.0, 4095.0))),
    ({"reader": "dicom", "window": "file"}, DicomReader(window="file")),
    ({"reader": "dicom", "window": [40, 400], "channels": 1}, DicomReader(1, window=(40.0, 400.0))),
    ({"reader": "tiff", "range": [0, 1]}, TiffReader(range=(0.0, 1.0))),
    ({"reader": "numpy", "channels": 2}, NumpyReader(2)),
    ({"reader": "bson"}, BsonReader(pictures="photos", picture="jpeg")),
    (json_images(channels=2), JsonReader(2, (-40.0, 10.0), ("band_1", "band_2"), SHAPE)),
])
def test_the_settings_make_a_reader_whose_repr_makes_it_again(images: dict, reader: Reader) -> None:
    made = make_reader(parse_strict(ImagesConfig, images, "competition.yml", ConfigError),
                       BsonSource(kind="bson", file="a.bson", pictures="photos", picture="jpeg"))
    assert made == reader and eval(repr(made), globals()) == made and pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(("images", "said"), [
    ({"reader": "dicm"}, "reader"), ({"range": [5, 5]}, "must be below the second"),
    ({"reader": "dicom", "window": [40, 0]}, "the width is at least 1"),
    ({"reader": "dicom", "window": [1, 2], "range": [0, 1]}, "range and window say the same"),
    ({"reader": "json", "arrays": ["a"], "shape": [1, 1]}, "needs arrays, shape and range"),
    ({"window": "file"}, "reader 'pillow' does not read window"),
])
def test_settings_that_do_not_fit_are_told(images: dict, said: str) -> None:
    with pytest.raises(ConfigError, match="competition.yml: .*"):
        try:
            parse_strict(ImagesConfig, images, "competition.yml", ConfigError)
        except ConfigError as failure:
            assert said in str(failure)
            raise


def test_every_name_of_the_settings_has_a_reader() -> None:
    assert sorted(READERS) == sorted(ImagesConfig.model_fields["reader"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize(("reader", "module", "package"), [
    (DicomReader(), "pydicom", "pydicom"), (TiffReader(), "tifffile", "tifffile"), (BsonReader(), "bson", "pymongo"),
])
def test_a_missing_package_is_told_once_and_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Reader,
                                                    module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    paths = [tmp_path / str(row) for row in range(3)]
    name = type(reader).__name__.removesuffix("Reader").lower()
    with pytest.raises(DataError) as failure:
        decode_items(whole_images(list("abc"), paths, reader=reader), CanvasKind(8), 2)
    assert str(failure.value) == (f"{paths[0]}: reader '{name}' needs {package}; install it with: pip install "
                                  f"'foldpack[{name}]'")


def pillow_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    Image.fromarray(noise(SHAPE, 4095, np.uint16)).save(folder / "a.png")
    return PillowReader(range=(0.0, 4095.0)), folder / "a.png", folder / "a.png", 3


def dicom_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    path = save_dicom(folder / "a.dcm", noise(SHAPE, 4095, np.uint16), bits=12, WindowCenter="100", WindowWidth="200",
                      RescaleSlope="1", RescaleIntercept="-10", PatientName="A^B")
    return DicomReader(window="file"), path, path, 1


def tiff_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    tifffile.imwrite(folder / "a.tif", noise((64, 64, 3)), photometric="rgb", tile=(32, 32), compression="zlib")
    return TiffReader(), folder / "a.tif", folder / "a.tif", 3


def plain_tiff_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    tifffile.imwrite(folder / "a.tif", noise((3, *SHAPE), 65535, np.uint16), photometric="minisblack")
    return TiffReader(), folder / "a.tif", folder / "a.tif", 3


def numpy_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    np.save(folder / "a.npy", noise((2, *SHAPE), 100, np.float32))
    return NumpyReader(2, (0.0, 100.0)), folder / "a.npy", folder / "a.npy", 2


def archive_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    np.savez_compressed(folder / "a.npz", noise((*SHAPE, 3)))
    return NumpyReader(), folder / "a.npz", folder / "a.npz", 3


def json_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    path = save_json(folder / "a.json", np.random.default_rng(0).normal(0, 9, (2, 2, *SHAPE)).round(1))
    return JsonReader(2, (-40.0, 10.0), ("band_1", "band_2"), SHAPE), path, path / "1", 2


def bson_file(folder: Path) -> tuple[Reader, Path, Path, int]:
    place = save_bson(folder / "a.bson", [[encoded(noise((*SHAPE, 3))), encoded(noise((*SHAPE, 3)), "JPEG")]])[1]
    return BsonReader(), folder / "a.bson", folder / "a.bson" / place, 3


MAKERS = [pillow_file, dicom_file, tiff_file, plain_tiff_file, numpy_file, archive_file, json_file, bson_file]


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Cut, or with some bits flipped, near the header more often than elsewhere."""
    if dice.random() < 0.3:
        return content[: dice.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 8])):
        place = dice.randrange(min(len(changed), 400) if dice.random() < 0.6 else len(changed))
        changed[place] ^= 1 << dice.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_no_damage_is_an_exception(tmp_path: Path, make: Callable[[Path], tuple[Reader, Path, Path, int]]) -> None:
    reader, file, image, channels = make(tmp_path)
    kind, dice, states = CanvasKind(8, channels=channels), random.Random(1), []
    content = file.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            assert decode_item(image, [kind], reader).state == "decoded"
            for _ in range(200):
                file.write_bytes(damaged(content, dice))
                decoded = decode_item(image, [kind], reader)
                assert (decoded.state == "decoded") == (decoded.reason == "") and "\n" not in decoded.reason
                assert decoded.pixels[kind].shape == (8, 8, channels) and decoded.pixels[kind].dtype == np.uint8
                crops = decode_crops(image, kind, np.array([[0, 0, 4, 4]]), reader)
                assert (crops is None) == (decoded.state == "fallback")
                states.append(decoded.state)
        finally:
            logging.disable(logging.NOTSET)
    assert states.count("fallback") > 40
