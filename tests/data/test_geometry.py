"""Canvases of every geometry: the pixels of the libraries that do the same, and frames that bring points back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_decoded import decode_image
from PIL import Image, ImageOps

from foldpack.data.decode import decode_item
from foldpack.data.geometry import CanvasKind, canvas_kind, fit_planes, image_frames, input_shape, to_canvas, to_file
from foldpack.settings.network import Geometry, NetConfig

SIDES = st.tuples(st.integers(1, 90), st.integers(1, 90))
MODES = st.sampled_from(["RGB", "L"])
BILINEAR = Image.Resampling.BILINEAR
EXAMPLES = settings(deadline=None, max_examples=150)


def picture(sides: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    dice = np.random.default_rng(seed)
    return Image.fromarray(dice.integers(0, 256, (*sides, 3), dtype=np.uint8)).convert(mode)


def canvas(image: Image.Image, kind: CanvasKind) -> np.ndarray:
    return fit_planes([image], kind, image.height, image.width)


def with_channel(pixels: Image.Image) -> np.ndarray:
    array = np.asarray(pixels)
    return array if array.ndim == 3 else array[..., None]


@EXAMPLES
@given(SIDES, st.integers(1, 64), MODES)
def test_squash_gives_the_bytes_that_it_always_gave(sides: tuple[int, int], size: int, mode: str) -> None:
    """One resize to the square, or the image itself where it has that size: the code before there were geometries."""
    image = picture(sides, mode)
    before = np.asarray(image if image.size == (size, size) else image.resize((size, size), BILINEAR))
    assert np.array_equal(canvas(image, CanvasKind(size)), before if mode == "RGB" else before[..., None])


@EXAMPLES
@given(SIDES, st.tuples(st.integers(4, 64), st.integers(4, 64)), st.integers(0, 255), MODES)
def test_letterbox_is_pillow_s_pad(sides: tuple[int, int], size: tuple[int, int], pad: int, mode: str) -> None:
    image = picture(sides, mode)
    kind = CanvasKind(size, geometry=Geometry(kind="letterbox", pad=pad))
    colour = (pad,) * 3 if mode == "RGB" else pad
    if min(size[0] * sides[1] / sides[0], size[1] * sides[0] / sides[1]) < 0.6:
        return  # Pillow refuses an image that would have no row left; here one is
    assert np.array_equal(canvas(image, kind), with_channel(ImageOps.pad(image, size[::-1], BILINEAR, colour)))


@EXAMPLES
@given(SIDES, st.tuples(st.integers(4, 64), st.integers(4, 64)), MODES)
def test_centre_crop_is_pillow_s_fit(sides: tuple[int, int], size: tuple[int, int], mode: str) -> None:
    image = picture(sides, mode)
    got = canvas(image, CanvasKind(size, geometry=Geometry(kind="centre-crop"))).astype(int)
    assert np.abs(got - with_channel(ImageOps.fit(image, size[::-1], BILINEAR))).max() <= 1  # of 255: Pillow's rounding


@EXAMPLES
@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 8), st.sampled_from([1, 4, 32]))
def test_long_and_short_keep_proportions_up_to_the_multiple(sides: tuple[int, int], times: int, multiple: int) -> None:
    side = times * multiple
    long = CanvasKind(side, geometry=Geometry(kind="long", multiple=multiple))
    frame = image_frames(long, np.array([sides]))[0]
    shape = np.round(frame[:2] * frame[2:4]).astype(int)
    assert max(shape) == side and not (shape % multiple).any() and shape.min() >= multiple
    exact = np.array(sides) * side / max(sides)
    assert (np.abs(shape - exact) <= np.where(exact < multiple / 2, multiple, multiple / 2 + 1e-9)).all()
    short = CanvasKind(max(8, side), geometry=Geometry(kind="short", most=2 * max(8, side)))
    high, wide = np.round(image_frames(short, np.array([sides]))[0][2:4] * sides).astype(int)
    assert max(high, wide) <= 2 * max(8, side)
    assert min(high, wide) == max(8, side) if max(sides) <= 2 * min(sides) else max(high, wide) == 2 * max(8, side)
    assert high * wide * 3 <= short.most_bytes


KINDS = [CanvasKind(24), CanvasKind((20, 36)), CanvasKind((20, 36), geometry=Geometry(kind="letterbox", pad=9)),
         CanvasKind((30, 16), geometry=Geometry(kind="centre-crop")), CanvasKind(32, geometry=Geometry(kind="long")),
         CanvasKind(24, geometry=Geometry(kind="short", most=60)),
         CanvasKind(32, geometry=Geometry(kind="long", multiple=8))]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@EXAMPLES
@given(sides=st.tuples(st.integers(40, 90), st.integers(40, 90)), data=st.data())
def test_a_box_that_is_drawn_is_found_where_the_frame_says(kind: CanvasKind, sides: tuple[int, int], data) -> None:
    """Half of a border's brightness lies where the border is, to a third of a pixel of the canvas."""
    height, width = sides
    top, left = data.draw(st.integers(height // 8, height // 4)), data.draw(st.integers(width // 8, width // 4))
    box = np.array([left, top, width - left, height - top], dtype=float)
    page = np.zeros((height, width, 3), np.uint8)
    page[top : height - top, left : width - left] = 255
    shown = canvas(Image.fromarray(page), kind)[..., 0].astype(float) / 255
    if kind.geometry.pad:
        shown[shown == kind.geometry.pad / 255] = 0
    frame = image_frames(kind, np.array([sides]))[0]
    drawn = to_canvas(frame, box)
    x1, y1, x2, y2 = np.clip(drawn, 0, [*shown.shape[::-1]] * 2)  # what a centre crop leaves of it
    column, row = shown[int((y1 + y2) / 2)], shown[:, int((x1 + x2) / 2)]
    assert abs(column.sum() - (x2 - x1)) < 0.34 and abs(row.sum() - (y2 - y1)) < 0.34
    middle = (np.arange(shown.shape[1]) + 0.5) @ column / column.sum()
    assert abs(middle - (x1 + x2) / 2) < 0.34
    assert np.abs(to_file(frame, drawn) - box).max() < 1e-9


def test_a_file_that_could_not_be_read_has_a_frame_that_moves_nothing() -> None:
    frames = image_frames(KINDS[2], np.array([[0, 0], [40, 36]]))
    assert frames.tolist() == [[0, 0, 1, 1, 0, 0], [40, 36, 0.5, 0.5, 0, 9]]
    assert to_file(frames[1], np.array([9.0, 0.0])).tolist() == [0, 0]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_an_image_is_turned_upright_first(tmp_path: Path, kind: CanvasKind, orientation: int) -> None:
    upright = Image.fromarray(np.linspace(0, 255, 70 * 50 * 3).astype(np.uint8).reshape(70, 50, 3))
    turned = {1: None, 3: Image.Transpose.ROTATE_180, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
              7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (upright if turned is None else upright.transpose(turned)).save(tmp_path / "a.png", exif=exif)
    decoded = decode_item(tmp_path / "a.png", [kind])
    assert decoded.size == (70, 50) and np.array_equal(decoded.pixels[kind], canvas(upright, kind))


@pytest.mark.parametrize("geometry", ["squash", "letterbox", "centre-crop", "long"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_draft_is_reduced_by_what_the_canvas_shows(tmp_path: Path, geometry: str, orientation: int) -> None:
    """Of 640 x 320 upright, 60 x 60 px are shown of 8, 4, 8 and 8 times as many pixels, and they look the same."""
    down, right = np.mgrid[:320, :640]
    waves = (127 + 60 * np.sin(right / 40) + 60 * np.cos(down / 60)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.dstack([waves] * 3)).transpose(Image.Transpose.ROTATE_90) if orientation == 6 else \
        Image.fromarray(np.dstack([waves] * 3))
    image.save(tmp_path / "a.jpg", quality=95, exif=exif)
    exact, draft = (decode_image(tmp_path / "a.jpg", CanvasKind(60, decoder, Geometry(kind=geometry))).astype(int)
                    for decoder in ("pillow", "pillow-draft"))
    assert exact.shape == draft.shape == ((30, 60, 3) if geometry == "long" else (60, 60, 3))
    assert 0 < np.abs(exact - draft).mean() < 6


# ---- channels


def test_grey_is_pillow_s_and_of_a_grey_file_its_own_bytes(tmp_path: Path) -> None:
    kind = CanvasKind(16, channels=1)
    picture((16, 16), "L").save(tmp_path / "grey.png")
    assert np.array_equal(decode_image(tmp_path / "grey.png", kind)[..., 0], np.asarray(picture((16, 16), "L")))
    picture((40, 30)).save(tmp_path / "colour.png")
    expected = np.asarray(picture((40, 30)).convert("L").resize((16, 16), BILINEAR))
    assert np.array_equal(decode_image(tmp_path / "colour.png", kind)[..., 0], expected)
    deep = np.full((16, 16), 0x8000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (decode_image(tmp_path / "deep.png", kind) == 128).all()


def test_four_channels_are_rgba_each_resampled_on_its_own(tmp_path: Path) -> None:
    """Pillow alone would weigh colours by alpha; a plane that is not alpha would spoil the others."""
    kind = CanvasKind(16, channels=4)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    planes = [np.asarray(Image.fromarray(pixels[..., c].copy()).resize((16, 16), BILINEAR)) for c in range(4)]
    assert np.array_equal(decode_image(tmp_path / "a.png", kind), np.dstack(planes))
    picture((16, 16)).save(tmp_path / "opaque.png")
    assert (decode_image(tmp_path / "opaque.png", kind)[..., 3] == 255).all()


def test_the_pages_of_a_tiff_are_channels(tmp_path: Path) -> None:
    pages = [picture((20, 24), "L", seed) for seed in range(5)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    expected = np.dstack([np.asarray(page) for page in pages])
    assert np.array_equal(decode_image(tmp_path / "a.tif", CanvasKind((20, 24), channels=5)), expected)
    assert np.array_equal(decode_image(tmp_path / "a.tif", CanvasKind((20, 24), channels=1))[..., 0], expected[..., 0])
    for name, count, reason in (("a.tif", 4, "5 pages, and 4 channels are asked for: a TIFF of 4 pages"),
                                ("b.png", 2, "1 page, and 2 channels are asked for: a TIFF of 2 pages")):
        pages[0].save(tmp_path / "b.png")
        decoded = decode_item(tmp_path / name, [CanvasKind(8, channels=count)])
        assert decoded.state == "fallback" and reason in decoded.reason and decoded.size == (0, 0)
        assert decoded.pixels[CanvasKind(8, channels=count)].shape == (8, 8, count)


def test_a_cut_file_is_repaired_in_every_number_of_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) * 3 // 4])
    for channels in (1, 3, 4):
        decoded = decode_item(tmp_path / "a.png", [CanvasKind(64, channels=channels)])
        shown = decoded.pixels[CanvasKind(64, channels=channels)]
        assert decoded.state == "repaired" and (shown[-1] == shown[-1, 0]).all() and shown[-1].any()


# ---- from settings


@pytest.mark.parametrize(("net", "kind", "text"), [
    ({"size": 32}, CanvasKind(32), "32 px"),
    ({"size": [32, 32], "canvas": 64, "decoder": "pillow-draft"}, CanvasKind(64, "pillow-draft"),
     "64 px by pillow-draft"),
    ({"size": [32, 48], "geometry": {"kind": "letterbox", "pad": 7}, "channels": 1, "mean": [0.5], "std": [0.2]},
     CanvasKind((32, 48), geometry=Geometry(kind="letterbox", pad=7), channels=1), "32 x 48 px letterbox pad 7 grey"),
    ({"size": 64, "geometry": {"kind": "short", "most": 128}, "channels": 4, "mean": [0.5] * 4, "std": [0.2] * 4},
     CanvasKind(64, geometry=Geometry(kind="short", most=128), channels=4), "64 px short most 128 4 channels")])
def test_the_kind_follows_from_the_settings(net: dict, kind: CanvasKind, text: str) -> None:
    assert canvas_kind(NetConfig(arch="a", **net)) == kind and str(kind) == text


@pytest.mark.parametrize(("net", "canvas_shape", "side", "expected"), [
    ({"size": 32, "canvas": 64}, (64, 64), None, (32, 32)), ({"size": 32, "canvas": 64}, (64, 64), 48, (48, 48)),
    ({"size": [32, 48]}, (32, 48), None, (32, 48)), ({"size": [32, 48]}, (32, 48), 24, (16, 24)),
    ({"size": 64, "geometry": {"kind": "long"}}, (64, 37), None, (64, 37)),
    ({"size": 64, "canvas": 128, "geometry": {"kind": "long", "multiple": 16}}, (128, 96), None, (64, 48)),
    ({"size": 64, "canvas": 128, "geometry": {"kind": "long", "multiple": 16}}, (128, 80), 128, (128, 80)),
    ({"size": 64, "geometry": {"kind": "short", "most": 200}}, (64, 150), 32, (32, 75))])
def test_what_a_network_is_shown_of_a_canvas(net: dict, canvas_shape: tuple[int, int], side: int | None,
                                             expected: tuple[int, int]) -> None:
    assert input_shape(NetConfig(arch="a", **net), canvas_shape, side) == expected
