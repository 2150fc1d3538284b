"""Images of 16 bits that use few of them: seen in every format, and told once for a set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from small_house import tiny_config

from foldpack.competitions.adapters import find_adapter
from foldpack.data.decode import decode_item
from foldpack.data.depth import depth_warning
from foldpack.data.geometry import CanvasKind
from foldpack.train.load import load_training_set

DIGITS = find_adapter("digits")


def deep_image(path: Path, top: int, channels: int = 1) -> Path:
    """A ramp from 0 to `top` with 16 bits a channel."""
    ramp = np.linspace(0, top, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    if channels == 1:
        Image.fromarray(ramp).save(path)
    else:
        assert cv2.imwrite(str(path), np.stack([ramp] * channels, axis=2))
    return path


@pytest.mark.parametrize("top", [0, 255, 1023, 4095, 65535])
@pytest.mark.parametrize(("suffix", "channels"), [(".png", 1), (".tif", 1), (".png", 3)])
def test_the_largest_value_is_seen(tmp_path: Path, suffix: str, channels: int, top: int) -> None:
    decoded = decode_item(deep_image(tmp_path / f"x{suffix}", top, channels), [CanvasKind(16), CanvasKind(32)])
    assert decoded.state == "decoded" and decoded.largest == (top if channels == 1 else max(255, top))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK"])
def test_images_of_8_bits_have_none(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new(mode, (8, 8)).save(path)
    assert decode_item(path, [CanvasKind(8)]).largest == -1
    assert decode_item(tmp_path / "none.png", [CanvasKind(8)]).largest == -1


def test_an_upright_image_keeps_its_largest_value(tmp_path: Path) -> None:
    path, exif = tmp_path / "x.png", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((4, 8), 4095, np.uint16)).save(path, exif=exif)
    assert decode_item(path, [CanvasKind(8)]).largest == 4095


@pytest.mark.parametrize(("largest", "bits", "levels"), [([0], 1, 1), ([255, 1], 8, 2), ([1023, 900], 10, 5),
                                                         ([4095], 12, 17), ([100, 16383], 14, 65)])
def test_few_bits_are_told(largest: list[int], bits: int, levels: int) -> None:
    assert depth_warning(largest) == (
        f"{len(largest)} images have 16 bits a channel but use only {bits} of them (largest value {max(largest):,} of "
        f"65,535): divided by 257 they keep {levels} of 256 levels; set the competition's `images.range` to "
        f"[0, {2 ** bits - 1}]")


@pytest.mark.parametrize("largest", [[], [65535], [16384], [100, 40000]])
def test_a_set_that_uses_its_bits_or_has_none(largest: list[int]) -> None:
    assert depth_warning(largest) == ""


@pytest.mark.parametrize(("top", "told"), [(4095, True), (65535, False)])
def test_training_tells_it(tmp_path: Path, top: int, told: bool) -> None:
    (tmp_path / "train").mkdir()
    for name in "abcd":
        deep_image(tmp_path / "train" / f"{name}.png", top)
    (tmp_path / "train.csv").write_text("id,label\na,0\nb,1\nc,0\nd,1\n")
    (tmp_path / "folds.csv").write_text("id,fold,label\na,0,0\nb,0,1\nc,1,0\nd,1,1\n")
    said: list[str] = []
    load_training_set(tiny_config(), DIGITS, tmp_path, tmp_path / "folds.csv", said.append)
    assert [line.partition("(")[0] for line in said] == (
        ["warning: 4 images have 16 bits a channel but use only 12 of them "] if told else [])
