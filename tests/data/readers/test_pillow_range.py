"""The Pillow reader with a range: deep grey becomes what the range says, other pixels stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reader_files import HEIGHT, WIDTH, noise, read
from test_dicom import scaled

from foldpack.data.decode import PILLOW, decode_item
from foldpack.data.depth import depth_warning
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.pillow import PillowReader

SHAPE = (HEIGHT, WIDTH)
TWELVE = PillowReader(range=(0.0, 4095.0))


def save(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("span", [(0.0, 4095.0), (100.0, 3000.0), (-500.0, 2000.0)])
def test_12_of_16_bits_fill_the_whole_range(tmp_path: Path, ending: str, span: tuple[float, float]) -> None:
    values = noise(SHAPE, 4095, np.uint16)
    path = save(tmp_path / f"a.{ending}", values)
    for channels in (1, 3):
        got = read(PillowReader(range=span), path, channels)
        assert all(np.array_equal(got[..., k], scaled(values, *span)) for k in range(channels))
    assert read(PILLOW, path, 1).max() == 16  # nearly black without it, which is told
    kind = CanvasKind(8)
    assert decode_item(path, [kind], TWELVE).largest == -1
    warning = depth_warning([decode_item(path, [kind]).largest])
    assert "use only 12 of them" in warning and "`images.range` to [0, 4095]" in warning


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_whole_numbers_of_32_bits_and_floats_are_read_by_a_range(tmp_path: Path, dtype: type) -> None:
    values = noise(SHAPE, 70_000, dtype)
    path = save(tmp_path / "a.tif", values)
    assert np.array_equal(read(PillowReader(range=(0.0, 70_000.0)), path, 1)[..., 0], scaled(values, 0, 70_000))


def test_8_bits_are_left_by_a_range_of_deeper_files_and_stretched_by_one_of_8_bits(tmp_path: Path) -> None:
    colour, grey, layer = noise((*SHAPE, 3)), noise(SHAPE), noise((*SHAPE, 4))
    paths = [save(tmp_path / f"{k}.png", values) for k, values in enumerate((colour, grey, layer))]
    narrow = PillowReader(range=(50.0, 200.0))
    for path in paths:
        for channels in (1, 3, 4):
            assert np.array_equal(read(TWELVE, path, channels), read(PILLOW, path, channels))
    assert np.array_equal(read(narrow, paths[0], 3), scaled(colour, 50, 200))
    assert np.array_equal(read(narrow, paths[1], 1)[..., 0], scaled(grey, 50, 200))
    four = read(narrow, paths[2], 4)
    assert np.array_equal(four[..., :3], scaled(layer[..., :3], 50, 200))
    assert np.array_equal(four[..., 3], layer[..., 3])
