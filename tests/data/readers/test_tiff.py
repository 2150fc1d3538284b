"""TIFF by tifffile: the order of channels, depth, tiles and pyramids, colours, orientation, damage."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from reader_files import HEIGHT, WIDTH, lost, noise, read
from test_dicom import scaled

from foldpack.data.decode import PILLOW, decode_item
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.tiff import TiffReader, plan_sides

SHAPE = (HEIGHT, WIDTH)


def save(path: Path, values: np.ndarray, **how: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(path, values, **how)
    return path


@pytest.mark.parametrize("how", [
    {"photometric": "rgb"}, {}, {"photometric": "minisblack"}, {"metadata": None, "photometric": "minisblack"},
    {"photometric": "rgb", "tile": (16, 16)}, {"photometric": "rgb", "compression": "zlib"},
], ids=str)
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_channels_stand_first_or_last(tmp_path: Path, how: dict[str, Any], first: bool) -> None:
    colour = noise((*SHAPE, 3))
    path = save(tmp_path / "a.tif", np.moveaxis(colour, 2, 0) if first else colour, **how)
    assert np.array_equal(read(TiffReader(), path, 3), colour)
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(read(TiffReader(), path, 1)[..., 0], grey)


@pytest.mark.parametrize("channels", [2, 5, 7])
@pytest.mark.parametrize("how", [{"planarconfig": "contig"}, {"planarconfig": "separate"}, {}], ids=str)
def test_any_number_of_channels(tmp_path: Path, channels: int, how: dict[str, str]) -> None:
    values = noise((*SHAPE, channels))
    first = how.get("planarconfig") != "contig"
    path = save(tmp_path / "a.tif", np.moveaxis(values, 2, 0) if first else values, photometric="minisblack", **how)
    assert np.array_equal(read(TiffReader(channels=channels), path, channels), values)
    if how:  # else the file does not say that its pages are channels
        assert f"{channels} channels, and 3 are asked for" in lost(TiffReader(), path)


@pytest.mark.parametrize(("values", "span"), [
    (noise(SHAPE, 65535, np.uint16), (0, 65535)), (noise(SHAPE, 200).astype(bool), (0, 1)),
])
def test_without_a_range_it_is_that_of_the_numbers(tmp_path: Path, values: np.ndarray, span: tuple[int, int]) -> None:
    path = save(tmp_path / "a.tif", values, photometric="minisblack")
    assert np.array_equal(read(TiffReader(), path, 1)[..., 0], scaled(values, *span))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
def test_a_range_is_for_numbers_of_every_kind(tmp_path: Path, dtype: type) -> None:
    values = noise(SHAPE, 200, dtype)
    path = save(tmp_path / "a.tif", values)
    assert np.array_equal(read(TiffReader(range=(20.0, 120.0)), path, 1)[..., 0], scaled(values, 20, 120))
    if dtype not in (np.uint8, np.uint16):
        assert lost(TiffReader(), path, 1) == (f"{np.dtype(dtype)} values have no agreed range; give the competition's "
                                               "`images.range`")


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    values = np.array([[np.nan, 1.0, np.inf, -np.inf]] * 8, np.float32)
    got = read(TiffReader(range=(0.0, 1.0)), save(tmp_path / "a.tif", values), 1, (8, 4))
    assert got[0, :, 0].tolist() == [0, 255, 255, 0]


def test_few_of_16_bits_are_noticed_unless_a_range_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", noise(SHAPE, 4095, np.uint16))
    kind = CanvasKind(8, channels=1)
    assert decode_item(path, [kind], TiffReader()).largest == 4095
    assert decode_item(path, [kind], TiffReader(range=(0.0, 4095.0))).largest == -1


def test_of_a_pyramid_the_largest_level_is_read(tmp_path: Path) -> None:
    whole = noise((64, 96, 3))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(whole, subifds=1, photometric="rgb", tile=(32, 32))
        writer.write(whole[::2, ::2], subfiletype=1, photometric="rgb", tile=(32, 32))
    assert np.array_equal(read(TiffReader(), tmp_path / "a.tif", 3, (64, 96)), whole)


def test_opacity_lies_on_white_and_white_may_be_zero(tmp_path: Path) -> None:
    layer = noise((*SHAPE, 4))
    path = save(tmp_path / "rgba.tif", layer, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read(TiffReader(), path, 3), read(PILLOW, path, 3))
    assert np.array_equal(read(TiffReader(channels=4), path, 4), layer)
    values = noise(SHAPE)
    assert np.array_equal(read(TiffReader(), save(tmp_path / "w.tif", values, photometric="miniswhite"), 1)[..., 0],
                          255 - values)


def test_colours_of_a_palette(tmp_path: Path) -> None:
    values, table = noise(SHAPE), noise((3, 256), 65535, np.uint16)
    path = save(tmp_path / "a.tif", values, photometric="palette", colormap=table)
    assert np.array_equal(read(TiffReader(), path, 3), (np.moveaxis(table[:, values], 0, 2) >> 8).astype(np.uint8))


@pytest.mark.parametrize("tag", range(1, 9))
def test_images_stand_upright_as_pillow_turns_them(tmp_path: Path, tag: int) -> None:
    path = save(tmp_path / "a.tif", noise((*SHAPE, 3)), photometric="rgb", extratags=[(274, 3, 1, tag, True)])
    sides = SHAPE[::-1] if tag > 4 else SHAPE
    assert np.array_equal(read(TiffReader(), path, 3, sides), read(PILLOW, path, 3, sides))


def test_what_pillow_reads_too_has_the_same_pixels(tmp_path: Path) -> None:
    shown = {"grey": noise(SHAPE), "colour": noise((*SHAPE, 3)), "deep": noise(SHAPE, 65535, np.uint16)}
    for name, values in shown.items():
        path = tmp_path / f"{name}.tif"
        Image.fromarray(values).save(path)
        for channels in (1, 3):
            assert np.array_equal(read(TiffReader(), path, channels), read(PILLOW, path, channels))


@pytest.mark.parametrize(("axes", "shape", "channels", "sides"), [
    ("YX", (9, 8), 3, (9, 8, 1)), ("YXS", (9, 8, 3), 3, (9, 8, 3)), ("QQSYX", (1, 1, 3, 9, 8), 3, (9, 8, 3)),
    ("QYXS", (10, 9, 8, 3), 3, (9, 8, 3)), ("IYX", (5, 9, 8), 3, (9, 8, 1)), ("IYX", (5, 9, 8), 5, (9, 8, 5)),
    ("QYX", (64, 50, 3), 3, (64, 50, 3)), ("QYX", (64, 50, 2), 2, (64, 50, 2)), ("ZCYX", (7, 2, 9, 8), 2, (9, 8, 2)),
    ("TZYX", (4, 7, 9, 8), 3, (9, 8, 1)), ("ZYX", (30, 9, 8), 3, (9, 8, 1)), ("YX", (1, 1), 3, (1, 1, 1)),
])
def test_sides_are_told_by_their_letters_then_by_their_lengths(axes: str, shape: tuple[int, ...], channels: int,
                                                                sides: tuple[int, int, int]) -> None:
    planned = plan_sides(axes, shape, channels)
    assert planned.shape(shape) == sides
    numbered = np.arange(np.prod(shape)).reshape(shape)
    arranged = planned.arrange(numbered)
    assert arranged.shape == sides and arranged[0, 0, 0] == 0
    step = numbered.strides[planned.across] // numbered.itemsize
    assert sides[1] == 1 or arranged[0, 1, 0] == step


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.tif", noise((*SHAPE, 3)), photometric="rgb").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:-10])
    assert "the file ends early" in lost(TiffReader(), tmp_path / "cut.tif")
    (tmp_path / "text.tif").write_text("no image")
    assert "TIFF" in lost(TiffReader(), tmp_path / "text.tif")
    Image.fromarray(noise((*SHAPE, 3))).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    if 5 not in tifffile.TIFF.DECOMPRESSORS:
        assert "compression 5 of TIFF needs the package imagecodecs" in lost(TiffReader(), tmp_path / "lzw.tif")
    assert "No such file" in lost(TiffReader(), tmp_path / "none.tif")
    assert lost(TiffReader(), tmp_path) == "not a file"
