"""The one decoder: what every kind of file becomes, and that broken files are one clear error."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from one_decoded import ImageError, decode_image
from PIL import Image

from foldpack.data.geometry import CanvasKind

GREY = (np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_of_the_right_size_is_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(pixels)), CanvasKind(8))
    assert out.dtype == np.uint8 and (out == pixels).all()


@pytest.mark.parametrize("size", [5, 8, 21])
def test_any_size_is_stretched_to_the_square(tmp_path: Path, size: int) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (40, 10), (10, 200, 30)))
    out = decode_image(path, CanvasKind(size))
    assert out.shape == (size, size, 3) and (out == (10, 200, 30)).all()


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(board)), CanvasKind(8))
    assert np.abs(out.astype(int) - 127).max() < 10  # without antialiasing it would be 0 or 255


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(GREY)), CanvasKind(8))
    assert (out == GREY[:, :, None]).all()


def test_one_bit_images(tmp_path: Path) -> None:
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(GREY).convert("1", dither=0)), CanvasKind(8))
    assert set(np.unique(out)) == {0, 255}


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, ending: str) -> None:
    deep = GREY.astype(np.uint16) * 257
    out = decode_image(save(tmp_path / f"a.{ending}", Image.fromarray(deep)), CanvasKind(8))
    assert (out == GREY[:, :, None]).all()


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[..., 0] = 200
    pixels[:, :4, 3] = 255
    pixels[:, 4:6, 3] = 128
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(pixels)), CanvasKind(8))
    assert (out[:, :4] == (200, 0, 0)).all()
    assert (np.abs(out[:, 4:6].astype(int) - (227, 127, 127)) <= 1).all()
    assert (out[:, 6:] == 255).all()


def test_grey_with_alpha(tmp_path: Path) -> None:
    pixels = np.stack([GREY, np.zeros_like(GREY)], axis=-1)
    assert (decode_image(save(tmp_path / "a.png", Image.fromarray(pixels)), CanvasKind(8)) == 255).all()


def test_a_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([9, 9, 9, 50, 100, 150])
    image.paste(1, (0, 0, 4, 8))
    out = decode_image(save(tmp_path / "a.png", image, transparency=0), CanvasKind(8))
    assert (out[:, :4] == (50, 100, 150)).all() and (out[:, 4:] == 255).all()


def test_a_transparent_colour_of_a_grey_png(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(GREY > 100, 77, 0).astype(np.uint8))
    out = decode_image(save(tmp_path / "a.png", image, transparency=0), CanvasKind(8))
    assert (out[GREY > 100] == 77).all() and (out[GREY <= 100] == 255).all()


def test_cmyk_jpegs(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    out = decode_image(path, CanvasKind(8))
    assert (np.abs(out.astype(int) - (255, 0, 0)) < 10).all()


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (7, 7)), (6, (0, 7)), (8, (7, 0)), (2, (0, 7))])
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = decode_image(save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif), CanvasKind(8))
    assert out[corner].tolist() == [255, 255, 255] and out.sum() == 3 * 255


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    out = decode_image(save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:]), CanvasKind(8))
    assert (out == (255, 0, 0)).all()


def broken_files(folder: Path) -> dict[str, Path]:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    files = {"truncated": whole.getvalue()[:2000], "empty": b"", "text": b"not an image", "html": b"<html></html>"}
    for name, content in files.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "folder.png").mkdir()
    return {name: folder / f"{name}.png" for name in (*files, "folder", "missing")}


@pytest.mark.parametrize("name", ["truncated", "empty", "text", "html", "folder", "missing"])
def test_broken_files_are_one_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(ImageError) as caught:
        decode_image(path, CanvasKind(8))
    assert str(caught.value).startswith(f"{path}: cannot decode the image (") and "()" not in str(caught.value)


def test_a_decompression_bomb_is_refused_without_decoding_it(tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="a.png: cannot decode the image"):
        decode_image(path, CanvasKind(8))


@pytest.mark.parametrize("failure", [RuntimeError("Failed to decode frame 0"), NotImplementedError(), OverflowError(),
                                     MemoryError(), EOFError()])
def test_whatever_a_reader_raises_is_an_image_error(tmp_path: Path, monkeypatch, failure: Exception) -> None:
    """Pillow's AVIF, DDS and other readers raise these on damaged files."""
    path = save(tmp_path / "a.png", Image.new("L", (8, 8)))

    def fail(*args: object) -> None:
        raise failure

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(ImageError, match=str(failure) or type(failure).__name__):
        decode_image(path, CanvasKind(8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "DDS"])
def test_damaged_files_decode_or_are_refused(tmp_path: Path, form: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert("RGB").save(buffer, form)
    chance, path = random.Random(form), tmp_path / "a.bin"
    refused = 0
    for _ in range(60):
        data = bytearray(buffer.getvalue())
        for _ in range(chance.choice((1, 3, 9))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        try:
            assert decode_image(path, CanvasKind(8)).shape == (8, 8, 3)
        except ImageError:
            refused += 1
    assert 0 < refused < 60
