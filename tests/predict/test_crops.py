"""Crops of boxes: the pixels of each box, whatever is taken at a time, from one decode of each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items
from foldpack.predict import crops
from foldpack.predict.crops import CropStream
from foldpack.settings.network import Geometry

KIND = CanvasKind(8, geometry=Geometry(kind="box"))
IMAGE = np.array([0, 0, 0, 2, 2], dtype=np.int32)  # the second image has no boxes
BOX = np.array([[0, 0, 8, 8], [10, 20, 26, 36], [-5, 60, 3, 90], [1.5, 2.5, 9.5, 10.5], [63, 63, 70, 70]], np.float32)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def boxes_in(images: list[Path]) -> Items:
    return Items([path.stem for path in images], images, IMAGE, BOX)


def test_each_box_shows_its_pixels(images: list[Path]) -> None:
    whole = [np.asarray(Image.open(path)) for path in images]
    taken = CropStream(boxes_in(images), KIND).take(0, 5)
    assert taken.shape == (5, 8, 8, 3) and np.array_equal(taken[0], whole[0][:8, :8])
    wanted = [whole[0][20:36, 10:26], whole[0][60:64, 0:3], whole[2][2:11, 1:10], whole[2][63:64, 63:64]]
    for crop, pixels in zip(taken[1:], wanted, strict=True):  # widened to whole pixels, cut off at the edge
        assert np.array_equal(crop, np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("held", [1, 2 * 192, 1 << 20])
def test_whatever_is_taken_at_a_time_the_pixels_are_the_same(images: list[Path], held: int,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "CROP_BYTES", held)
    whole = CropStream(boxes_in(images), KIND).take(0, 5)
    for size in (1, 2, 3):
        stream = CropStream(boxes_in(images), KIND)
        assert np.array_equal(np.concatenate([stream.take(at, at + size) for at in range(0, 5, size)]), whole)


def test_an_image_is_decoded_once_for_all_its_boxes(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    real = crops.decode_crops
    monkeypatch.setattr(crops, "decode_crops", lambda path, *rest: (decoded.append(path.stem), real(path, *rest))[1])
    stream = CropStream(boxes_in(images), KIND)
    for row in range(5):
        stream.take(row, row + 1)
    assert decoded == ["0", "2"]


def test_boxes_of_an_image_without_pixels_are_lost(images: list[Path]) -> None:
    images[2].write_bytes(b"broken")
    stream = CropStream(boxes_in(images), KIND)
    assert not stream.take(2, 5)[1:].any() and stream.lost_rows(0, 5) == [3, 4] and stream.lost_rows(0, 4) == [3]
