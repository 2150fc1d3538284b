"""Views: their names, what they show, and the law that whatever they do can be undone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foldpack.data.geometry import CanvasKind, image_frames, input_shape, place_image, to_canvas, to_file
from foldpack.predict.view import View, ViewError, Window
from foldpack.predict.view_pixels import (
    apply_boxes,
    apply_points,
    apply_view,
    grey_pixels,
    output_size,
    show_window,
    split_views,
    stack_views,
    undo_boxes,
    undo_masks,
    undo_points,
)
from foldpack.predict.views import (
    CROP_PLACES,
    VIEW_TURNS,
    cost_of_views,
    expand_views,
    parse_view,
    require_inputs,
    require_views,
)
from foldpack.settings.network import Geometry, NetConfig
from foldpack.settings.strict_yaml import dump_strict, load_strict

TURNS = list(VIEW_TURNS)
LAW = settings(max_examples=60, deadline=None)
shares = st.integers(30, 100).map(lambda number: f"{number / 100:.2f}")
scales = st.integers(50, 200).map(lambda number: f"scale:{number / 100:g}")
shifts = st.tuples(st.integers(-30, 30), st.integers(-30, 30)).map(lambda by: f"shift:{by[0] / 100:g}:{by[1] / 100:g}")
crops = st.tuples(st.sampled_from(list(CROP_PLACES)), shares).map(lambda crop: f"crop:{crop[0]}:{crop[1]}")
steps = st.one_of(st.sampled_from(TURNS), scales, shifts, crops)
view_names = st.lists(steps, min_size=1, max_size=3).map("+".join).filter(lambda name: name.count("inner") < 2)
sides = st.integers(1, 23)
image_sizes = st.tuples(sides, sides)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((2, channels, height, width), dtype=np.float32))


# ---- names ----


def test_turns_do_what_their_names_say() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    shown = {name: apply_view(parse_view(name), image)[0, 0].tolist() for name in TURNS}
    assert shown == {
        "identity": [[0, 1, 2], [3, 4, 5]],
        "hflip": [[2, 1, 0], [5, 4, 3]],
        "vflip": [[3, 4, 5], [0, 1, 2]],
        "rot180": [[5, 4, 3], [2, 1, 0]],
        "rot90": [[2, 5], [1, 4], [0, 3]],  # counter-clockwise
        "rot270": [[3, 0], [4, 1], [5, 2]],
        "transpose": [[0, 3], [1, 4], [2, 5]],
        "transverse": [[5, 2], [4, 1], [3, 0]],
    }


def test_turns_are_those_of_torch_and_pillow() -> None:
    image = picture(5, 7)
    for name, times in (("rot90", 1), ("rot180", 2), ("rot270", 3)):
        assert torch.equal(apply_view(parse_view(name), image), torch.rot90(image, times, (-2, -1)))
    table = np.arange(35, dtype=np.uint8).reshape(5, 7)
    for name, method in (("transpose", Image.Transpose.TRANSPOSE), ("transverse", Image.Transpose.TRANSVERSE)):
        expected = np.asarray(Image.fromarray(table).transpose(method))
        assert (apply_view(parse_view(name), torch.from_numpy(table)).numpy() == expected).all()


@pytest.mark.parametrize("first", TURNS)
@pytest.mark.parametrize("then", TURNS)
def test_two_turns_are_one(first: str, then: str) -> None:
    image = picture(4, 6)
    both = apply_view(parse_view(then), apply_view(parse_view(first), image))
    assert torch.equal(apply_view(parse_view(f"{first}+{then}"), image), both)
    assert parse_view(f"{first}+{then}") in [parse_view(name) for name in TURNS]


def window_of(name: str) -> tuple[float, ...]:
    return tuple(float(edge) for edge in parse_view(name).window)


def test_windows_are_exact_shares_of_the_image() -> None:
    assert window_of("crop:top-left:0.875") == (0, 0, 0.875, 0.875)
    assert window_of("crop:bottom-right:0.75") == (0.25, 0.25, 1, 1)
    assert window_of("crop:top-right:0.75") == (0.25, 0, 1, 0.75)
    assert window_of("crop:centre:0.5") == (0.25, 0.25, 0.75, 0.75)
    assert window_of("crop:inner:0.5") == (0.375, 0.375, 0.625, 0.625)
    assert window_of("crop:0.125:0.25:0.5") == (0.125, 0.25, 0.625, 0.75)
    assert window_of("crop:full") == window_of("scale:1") == window_of("shift:0:0") == (0, 0, 1, 1)
    assert window_of("scale:2") == (0.25, 0.25, 0.75, 0.75) and window_of("scale:0.5") == (-0.5, -0.5, 1.5, 1.5)
    assert window_of("shift:0.25:-0.125") == (-0.25, 0.125, 0.75, 1.125)  # what is shown moves right and up
    assert parse_view("crop:centre:0.8") == parse_view("scale:1.25")
    assert parse_view("scale:1.25").window[0] == Fraction(1, 10)


def test_steps_are_done_from_left_to_right() -> None:
    assert parse_view("hflip+crop:top-left:0.5").window == parse_view("crop:top-right:0.5").window
    assert parse_view("crop:top-left:0.5+hflip").window == parse_view("crop:top-left:0.5").window
    assert parse_view("scale:2+scale:0.5") == parse_view("identity")
    assert parse_view("crop:centre:0.5+crop:centre:0.5") == parse_view("crop:inner:0.5")
    assert parse_view("rot90+shift:0.1:0") == parse_view("shift:0:0.1+rot90") != parse_view("shift:0.1:0+rot90")


@LAW
@given(view_names, image_sizes)
def test_a_chain_moves_points_as_its_steps_do(name: str, image_size: tuple[int, int]) -> None:
    points = np.array([[0.0, 0.0], [1.5, 0.25], [image_size[1], image_size[0]]])
    expected, size = points, image_size
    for step in name.split("+"):
        expected = apply_points(parse_view(step), expected, size)
        size = output_size(parse_view(step), size, None)
    assert apply_points(parse_view(name), points, image_size) == pytest.approx(expected, abs=1e-9)
    assert output_size(parse_view(name), image_size, None) == size


@pytest.mark.parametrize(("name", "message"), [
    ("hflop", "unknown view 'hflop': did you mean 'hflip'? Allowed: identity, hflip, vflip, rot180, rot90, rot270,"),
    ("scal:1.25", "unknown view 'scal:1.25': did you mean 'scale:FACTOR'? Allowed: identity,"),
    ("vflip+rot45", "unknown view 'rot45' in 'vflip+rot45': did you mean"),
    ("", "unknown view '': Allowed: identity, hflip"),
    ("hflip+", "unknown view '' in 'hflip+': Allowed:"),
    ("scale:9", "view 'scale:9': FACTOR is '9'; allowed: a plain number from 0.25 to 4"),
    ("scale:1e1", "FACTOR is '1e1'; allowed: a plain number"),
    ("scale:nan", "FACTOR is 'nan'; allowed: a plain number"),
    ("scale", "view 'scale': write scale:FACTOR, numbers as in"),
    ("shift:0.1", "view 'shift:0.1': write shift:RIGHT:DOWN"),
    ("shift:0.1:0.7", "DOWN is '0.7'; allowed: a plain number from -0.5 to 0.5"),
    ("crop:center:0.8", "view 'crop:center:0.8': unknown place 'center': did you mean 'centre'?"),
    ("crop:centre:1.2", "SHARE is '1.2'; allowed: a plain number from 0.1 to 1"),
    ("crop:0.3:0.1:0.8", "LEFT is '0.3'; allowed: a plain number from 0 to 0.2"),
    ("crop:1:2:3:4", "view 'crop:1:2:3:4': write crop:PLACE:SHARE or crop:LEFT:TOP:SHARE"),
    ("five-crop:0.8", "'five-crop:0.8' is a group of views, and one view is needed here; its views: crop:top-left:"),
    ("five-crop", "view 'five-crop': write five-crop:SHARE"),
    ("five-crop:2", "SHARE is '2'; allowed: a plain number from 0.1 to 1"),
    ("random-crop:5:7:0.8", "view 'random-crop:5:7:0.8': the seed is '7'; write it as seed7"),
    ("random-crop:99:seed7:0.8", "COUNT is '99'; allowed: 1 to 64"),
    ("+".join(["crop:centre:0.1"] * 3), "shows 0.001 of the image's width; allowed: 0.015625 to 64"),
])
def test_strange_names_are_refused_with_what_is_allowed(name: str, message: str) -> None:
    with pytest.raises(ViewError) as caught:
        parse_view(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_names_each_view_once() -> None:
    require_views(["identity", "hflip", "scale:1.25", "hflip+scale:1.25"])
    with pytest.raises(ViewError, match="a view is named twice: hflip, hflip; name each once"):
        require_views(["hflip", "hflip"])
    for first, second in (("scale:1.25", "crop:centre:0.8"), ("hflip+vflip", "rot180"), ("identity", "crop:full"),
                          ("scale:1.5", "scale:1.50")):
        with pytest.raises(ViewError, match="show the same; keep one of them"):
            require_views([first, second])


def test_groups_are_spelled_out() -> None:
    assert expand_views(["d4"]) == TURNS
    assert expand_views(["five-crop:0.875"]) == [f"crop:{place}:0.875" for place in list(CROP_PLACES)[:5]]
    seven = expand_views(["seven-crop:0.875"])
    assert seven == [*(f"crop:{place}:0.875" for place in CROP_PLACES), "crop:full"] and len(seven) == 7
    assert expand_views(["identity", "hflip+five-crop:0.8"])[:2] == ["identity", "hflip+crop:top-left:0.8"]
    assert len(expand_views(["d4+five-crop:0.8"])) == 40
    assert expand_views(["d4+scale:1.25"])[:2] == ["scale:1.25", "hflip+scale:1.25"]
    with pytest.raises(ViewError, match="'identity' and 'crop:full' show the same"):
        expand_views(["identity", "seven-crop:0.8"])
    with pytest.raises(ViewError, match="a view is named twice"):
        expand_views(["d4", "hflip"])


def test_a_side_and_grey_are_steps_that_move_nothing() -> None:
    view = parse_view("hflip+side:640+grey+crop:centre:0.5")
    plain = parse_view("hflip+crop:centre:0.5")
    assert (view.turn, view.window, view.side, view.grey) == (plain.turn, plain.window, 640, True)
    assert (plain.side, plain.grey) == (None, False) and view != plain
    require_views(["identity", "side:640", "grey", "side:320", "grey+side:320"])
    with pytest.raises(ViewError, match="views 'grey\\+hflip' and 'hflip\\+grey' show the same; keep one of them"):
        require_views(["grey+hflip", "hflip+grey"])


def test_a_view_must_fit_the_network_s_images() -> None:
    require_inputs(["side:64", "grey", "hflip"], NetConfig(arch="a", size=32, canvas=64))
    with pytest.raises(ViewError, match="view 'hflip\\+side:65' is larger than the canvas of 64 px; set net.canvas to"):
        require_inputs(["hflip+side:65"], NetConfig(arch="a", size=32, canvas=64))
    with pytest.raises(ViewError, match="view 'grey' needs images of 3 channels, and net.channels is 1"):
        require_inputs(["grey"], NetConfig(arch="a", size=32, channels=1, mean=[0.5], std=[0.2]))


def test_random_crops_depend_on_their_seed_alone() -> None:
    series = expand_views(["random-crop:5:seed7:0.8"])
    assert series == ["crop:0.1922:0.0890:0.8", "crop:0.1685:0.1785:0.8", "crop:0.1106:0.1455:0.8",
                      "crop:0.0133:0.0896:0.8", "crop:0.0021:0.1933:0.8"]
    assert expand_views(["random-crop:3:seed7:0.8"]) == series[:3]
    assert expand_views(["random-crop:5:seed8:0.8"]) != series
    places = [parse_view(name).window for name in expand_views(["random-crop:64:seed1:0.6"])]
    assert all(0 <= edge <= 1 for window in places for edge in window)
    assert min(window[0] for window in places) < 0.05 and max(window[2] for window in places) > 0.95


def test_names_are_plain_yaml() -> None:
    names = [*expand_views(["d4", "scale:1.25", "shift:-0.1:0.05", "random-crop:2:seed3:0.7", "hflip+five-crop:0.9"]),
             *expand_views(["seven-crop:0.9"]), "random-crop:2:seed3:0.7", "seven-crop:0.9"]
    assert load_strict(dump_strict({"views": names}), "x") == {"views": names}
    flow = f"views: [{', '.join(names)}]"
    assert load_strict(flow, "x") == {"views": names}


# ---- pixels ----


@pytest.mark.parametrize("name", TURNS)
def test_turns_at_the_networks_size_move_pixels_and_change_none(name: str) -> None:
    image = picture(9, 9)
    turned = apply_view(parse_view(name), image, 9)
    assert torch.equal(turned, apply_view(parse_view(name), image))
    assert sorted(turned.flatten().tolist()) == sorted(image.flatten().tolist())


@pytest.mark.parametrize("size", [1, 5, 13, 17, 40])
def test_resampling_is_that_of_torch(size: int) -> None:
    image = picture(13, 17)
    expected = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
    assert (apply_view(View("identity"), image, size) - expected).abs().max() < 2e-6


@pytest.mark.parametrize("size", [4, 7, 10, 20])
def test_a_crop_is_that_of_pillow(size: int) -> None:
    table = np.random.default_rng(3).random((16, 16), dtype=np.float32)
    # Pillow lets the filter see beyond the box, to the edge of the image; so do we.
    expected = np.asarray(Image.fromarray(table).resize((size, size), Image.Resampling.BILINEAR, box=(2, 2, 14, 14)))
    shown = apply_view(parse_view("crop:centre:0.75"), torch.from_numpy(table), size)
    assert np.abs(shown.numpy() - expected).max() < 2e-6


def test_a_crop_along_pixel_borders_copies_them() -> None:
    image = picture(16, 16)
    assert torch.equal(apply_view(parse_view("crop:top-right:0.75"), image, 12), image[..., :12, 4:])
    assert torch.equal(apply_view(parse_view("crop:0.125:0.25:0.5"), image, 8), image[..., 4:12, 2:10])


def test_a_shift_moves_right_and_down_and_mirrors_what_comes_in() -> None:
    image = picture(8, 8)
    moved = apply_view(parse_view("shift:0.25:0.125"), image)
    assert torch.equal(moved[..., 1:, 2:], image[..., :-1, :-2])
    assert torch.equal(moved[..., 0, 2:], image[..., 0, :-2]) and torch.equal(moved[..., 1:, 1], image[..., :-1, 0])
    assert torch.equal(moved[..., 1:, 0], image[..., :-1, 1])


def test_half_precision_and_whole_numbers_keep_their_type() -> None:
    image = picture(8, 8)
    half = apply_view(parse_view("scale:1.25"), image.half())
    assert half.dtype == torch.float16 and (half - apply_view(parse_view("scale:1.25"), image)).abs().max() < 2e-3
    labels = torch.arange(64, dtype=torch.uint8).reshape(8, 8)
    doubled = labels[2:6, 2:6].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(apply_view(parse_view("scale:2"), labels), doubled)


def test_under_autocast_pixels_stay_in_float32() -> None:
    image = picture(8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown = apply_view(parse_view("scale:1.3"), image)
    assert shown.dtype == torch.float32 and torch.equal(shown, apply_view(parse_view("scale:1.3"), image))


def test_the_same_view_gives_the_same_bits_in_and_out_of_inference_mode() -> None:
    image, view = picture(11, 11), parse_view("rot90+crop:0.1234:0.0567:0.8")
    with torch.inference_mode():
        first = apply_view(view, image, 7).clone()
    assert torch.equal(apply_view(view, image, 7), first)
    apply_view(view, image.requires_grad_(), 7).sum().backward()  # the cached weights are no inference tensors
    assert image.grad is not None and float(image.grad.sum()) == pytest.approx(2 * 3 * 49, rel=1e-5)


@LAW
@given(st.lists(view_names, min_size=1, max_size=5), image_sizes, st.integers(1, 9), st.booleans())
def test_a_stack_is_its_views_one_after_the_other(
    names: list[str], image_size: tuple[int, int], size: int, last: bool
) -> None:
    views, image = [parse_view(name) for name in names], picture(*image_size)
    image = image.contiguous(memory_format=torch.channels_last) if last else image
    [(_, stacked)] = stack_views(views, image, size)
    assert stacked.shape == (len(views) * 2, 3, size, size)
    for row, view in zip(split_views(stacked, len(views)), views, strict=True):
        assert torch.equal(row, apply_view(view, image, size))
    groups = stack_views(views, image)
    assert sorted(position for inside, _ in groups for position in inside) == list(range(len(views)))
    for inside, tensor in groups:
        for row, position in zip(split_views(tensor, len(inside)), inside, strict=True):
            assert torch.equal(row, apply_view(views[position], image))


def test_a_stack_keeps_the_order_of_memory_that_the_network_likes() -> None:
    image = picture(8, 8).contiguous(memory_format=torch.channels_last)
    for names in (["identity"], ["rot90"], ["hflip", "transpose", "scale:1.25"]):
        [(_, stacked)] = stack_views([parse_view(name) for name in names], image, 8)
        assert stacked.is_contiguous(memory_format=torch.channels_last)
        [(_, plain)] = stack_views([parse_view(name) for name in names], image.contiguous(), 8)
        assert plain.is_contiguous() and torch.equal(plain, stacked)


@pytest.mark.parametrize(("net", "views", "cost"), [
    ({"size": 224}, ["identity", "hflip+grey"], 2.0),
    ({"size": 224, "canvas": 448}, ["identity", "side:448", "side:112+hflip"], 5.25),
    ({"size": [100, 200], "canvas": [200, 400]}, ["identity", "side:400"], 5.0),
    ({"size": 256, "canvas": 512, "geometry": {"kind": "short", "multiple": 32, "most": 1024}},
     ["identity", "side:384"], 3.25),
])
def test_a_view_of_another_side_costs_by_its_pixels(net: dict, views: list[str], cost: float) -> None:
    assert cost_of_views(views, NetConfig(arch="test_resnet", **net)) == pytest.approx(cost)


def test_views_on_their_side_form_a_stack_of_their_own() -> None:
    views = [parse_view(name) for name in ("identity", "rot90", "hflip", "transpose")]
    (upright, first), (lying, second) = stack_views(views, picture(4, 6))
    assert (upright, lying) == ([0, 2], [1, 3])
    assert first.shape == (4, 3, 4, 6) and second.shape == (4, 3, 6, 4)


def test_a_window_that_several_views_share_is_resampled_once(monkeypatch) -> None:
    seen: list[Window] = []

    def counted(window: Window, images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        seen.append(window)
        return show_window(window, images, size)

    monkeypatch.setattr("foldpack.predict.view_pixels.show_window", counted)
    stack_views([parse_view(name) for name in expand_views(["d4+five-crop:0.8"])], picture(10, 10), 10)
    assert len(seen) == len(set(seen)) == 5  # forty views; the mirror image of a corner is a corner


# ---- the law: whatever a view does is undone ----


@LAW
@given(st.sampled_from(TURNS), image_sizes, st.sampled_from([torch.float32, torch.uint8, torch.bool]))
def test_masks_of_turns_come_back_to_the_last_bit(name: str, image_size: tuple[int, int], dtype: torch.dtype) -> None:
    masks = (picture(*image_size, channels=4) * 7).to(dtype)
    back, covered = undo_masks(parse_view(name), apply_view(parse_view(name), masks), image_size)
    assert back.dtype == dtype and torch.equal(back, masks) and bool(covered.all())


@LAW
@given(view_names, image_sizes, st.none() | st.integers(1, 40), st.data())
def test_points_and_boxes_come_back(
    name: str, image_size: tuple[int, int], size: int | None, data: st.DataObject
) -> None:
    """To 1e-9 of a pixel for every view; exactly for turns at their own size and points on sixteenths of a pixel."""
    height, width = image_size
    points = np.array(data.draw(st.lists(st.tuples(st.integers(-16, 16 * width), st.integers(-16, 16 * height)),
                                         min_size=1, max_size=4))) / 16
    view = parse_view(name)
    moved = apply_points(view, points, image_size, size)
    back = undo_points(view, moved, image_size, size)
    assert back == pytest.approx(points, abs=1e-9)
    if name in TURNS and size is None:
        assert (back == points).all()
    boxes = np.concatenate([np.minimum(points, points[::-1]), np.maximum(points, points[::-1])], axis=1)
    shown = apply_boxes(view, boxes, image_size, size)
    assert (shown[:, :2] <= shown[:, 2:]).all()
    assert undo_boxes(view, shown, image_size, size) == pytest.approx(boxes, abs=1e-9)


geometries = st.sampled_from(["squash", "letterbox", "centre-crop", "long", "short"])


@LAW
@given(view_names, geometries, st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.integers(8, 900),
       st.none() | st.integers(8, 1200), st.data())
def test_what_is_found_in_a_view_lies_in_the_file_where_it_was_drawn(
    name: str, geometry: str, file_size: tuple[int, int], size: int, side: int | None, data: st.DataObject
) -> None:
    """From a page to its canvas, to a view of any side, and back: to a millionth of a pixel of the upright file."""
    settings = Geometry(kind=geometry, most=2 * size if geometry == "short" else None)
    config = NetConfig(arch="a", size=size, geometry=settings)
    kind = CanvasKind(size, geometry=settings)
    frame = image_frames(kind, np.array([file_size]))[0]
    canvas, view = place_image(kind, *file_size).shape, parse_view(name)
    shown = input_shape(config, canvas, side)
    corners = st.tuples(*[st.floats(0, length) for length in (*file_size[::-1], *file_size[::-1])])
    box = np.array(data.draw(corners))
    box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    there = apply_boxes(view, to_canvas(frame, box), canvas, shown)
    assert np.abs(to_file(frame, undo_boxes(view, there, canvas, shown)) - box).max() <= 1e-6
    points = apply_points(view, to_canvas(frame, box[:2]), canvas, shown)
    assert np.abs(to_file(frame, undo_points(view, points, canvas, shown)) - box[:2]).max() <= 1e-6


@LAW
@given(view_names, st.tuples(st.integers(8, 23), st.integers(8, 23)), st.none() | st.integers(8, 40))
def test_what_a_view_saw_of_a_mask_comes_back(name: str, image_size: tuple[int, int], size: int | None) -> None:
    """A mask that rises by 1 a pixel comes back to 0.1 where filters do not touch a border, be it cropped or scaled."""
    view, (height, width) = parse_view(name), image_size
    down, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    masks = torch.stack([right, down]).float()
    back, covered = undo_masks(view, apply_view(view, masks, size), image_size)
    assert back.shape == masks.shape and covered.shape == image_size
    left, top, end, bottom = (float(edge) for edge in view.window)
    on_edge = [(abs(right - edge * width) < 1e-4) for edge in (left, end)]
    on_edge += [(abs(down - edge * height) < 1e-4) for edge in (top, bottom)]
    inside = (right > left * width) & (right < end * width) & (down > top * height) & (down < bottom * height)
    assert bool(((covered == inside) | torch.stack(on_edge).any(0)).all())
    shown_h, shown_w = output_size(view, image_size, size, turned=False)
    wide = 1 + 2 * max(1.0, (end - left) * width / shown_w)  # reach of both filters, in pixels of the image
    high = 1 + 2 * max(1.0, (bottom - top) * height / shown_h)
    sure = ((right > max(left, 0) * width + wide) & (right < min(end, 1) * width - wide)
            & (down > max(top, 0) * height + high) & (down < min(bottom, 1) * height - high))
    assert bool((covered | ~sure).all())
    if bool(sure.any()):
        assert float((back - masks).abs()[:, sure].max()) < 0.1
    assert float(back[:, ~covered].abs().sum()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool])
@pytest.mark.parametrize("name", ["crop:top-left:0.75", "crop:0.25:0.125:0.5", "rot90+crop:bottom-left:0.5", "scale:2"])
def test_masks_of_crops_along_pixel_borders_come_back_where_they_were_seen(name: str, dtype: torch.dtype) -> None:
    view, masks = parse_view(name), (picture(16, 16, channels=2) * 5).to(dtype)
    side = int(16 * (view.window[2] - view.window[0]))
    back, covered = undo_masks(view, apply_view(view, masks, side), (16, 16))
    assert torch.equal(back[..., covered], masks[..., covered]) and int(covered.sum()) == side * side
    assert not back[..., ~covered].any()


def test_a_shift_brings_back_all_but_what_left_the_image() -> None:
    view, masks = parse_view("shift:0.25:-0.125"), picture(8, 8)
    back, covered = undo_masks(view, apply_view(view, masks), (8, 8))
    assert covered.tolist() == [[row >= 1 and column < 6 for column in range(8)] for row in range(8)]
    assert torch.equal(back[..., covered], masks[..., covered])


def test_points_follow_the_pixels() -> None:
    """The centre of a bright pixel is where the view shows it."""
    for name in [*TURNS, "crop:top-left:0.75", "rot90+crop:bottom-right:0.5", "shift:0.125:0.25", "transverse+scale:2"]:
        image = torch.zeros(1, 1, 16, 16)
        image[0, 0, 6, 5] = 1.0
        view = parse_view(name)
        side = int(16 * (view.window[2] - view.window[0]))
        shown = apply_view(view, image, side)[0, 0]
        [(x, y)] = apply_points(view, np.array([[5.5, 6.5]]), (16, 16), side)
        if not (0 <= x < side and 0 <= y < side):
            assert float(shown.sum()) == 0
        else:
            assert (shown == 1).nonzero().tolist() == [[int(y), int(x)]], name


def test_outputs_that_do_not_fit_the_views_are_refused() -> None:
    with pytest.raises(ViewError, match="7 outputs are not the same number for each of 2 views"):
        split_views(torch.zeros(7, 3), 2)


# ---- two faults of other libraries, which these laws would find ----


def toolbelt_merge_order(outputs: torch.Tensor) -> torch.Tensor:
    """What pytorch-toolbelt 0.8 averages in `d4_labels_deaugment`: the seventh view twice, the sixth never."""
    b1, b2, b3, b4, b5, _b6, b7, b8 = torch.chunk(outputs, 8)
    return torch.stack([b1, b2, b3, b4, b5, b7, b7, b8])


def test_every_views_answer_is_in_its_own_row_once() -> None:
    outputs = torch.arange(8.0).repeat_interleave(2)[:, None]  # what a network that names its view would say
    ours = split_views(outputs, 8)
    assert ours[:, 0, 0].tolist() == ours[:, 1, 0].tolist() == list(range(8))
    theirs = toolbelt_merge_order(outputs)
    assert theirs[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 6, 6, 7]  # the test above would fail
    assert ours.mean(0)[0, 0] == 3.5 != theirs.mean(0)[0, 0]


def test_grey_is_the_brightness_in_all_channels() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8))
    grey = grey_pixels(pixels)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels.numpy()])
    assert grey.shape == pixels.shape and (grey == grey[..., :1]).all()
    assert np.abs(grey[..., 0].numpy() - expected).max() <= 0.6
    even = torch.full((1, 2, 2, 3), 77, dtype=torch.uint8)
    assert torch.allclose(grey_pixels(even), even.float())
