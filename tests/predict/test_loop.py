"""The predict loop, its canvas and its views: the same numbers for any batch size, and a deadline that stops it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from view_arrays import predict_logits

from foldpack.data.decode import Decoded, black_canvas
from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items, whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.engine.deadline import OutOfTime
from foldpack.models.classifier import build_classifier
from foldpack.predict.canvas import decode_items
from foldpack.predict.device import pick_device
from foldpack.predict.view import ViewError
from foldpack.predict.view_pixels import apply_view
from foldpack.predict.views import parse_view, require_views
from foldpack.settings.network import NetConfig

CPU = torch.device("cpu")
CONFIG = NetConfig(arch="test_efficientnet", size=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(CONFIG, 5).eval()


class LeftHalf(nn.Module):
    """Logits: the mean of the left half, and of the right half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[-1] // 2
        return torch.stack([images[..., :half].mean((1, 2, 3)), images[..., half:].mean((1, 2, 3))], dim=1)


def test_the_shape_is_views_items_classes(net: nn.Module) -> None:
    out = predict_logits(net, CONFIG, PIXELS, ["identity", "hflip"], CPU, 4)
    assert out.shape == (2, 11, 5) and out.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 3, 11, 64])
def test_the_batch_size_changes_nothing(net: nn.Module, batch_size: int) -> None:
    whole = predict_logits(net, CONFIG, PIXELS, ["identity"], CPU, 5)
    assert np.abs(predict_logits(net, CONFIG, PIXELS, ["identity"], CPU, batch_size) - whole).max() <= 1e-5


def test_the_order_of_items_is_kept(net: nn.Module) -> None:
    order = np.random.default_rng(1).permutation(11)
    whole = predict_logits(net, CONFIG, PIXELS, ["identity"], CPU, 4)
    assert np.abs(predict_logits(net, CONFIG, PIXELS[order], ["identity"], CPU, 4) - whole[:, order]).max() <= 1e-5


def test_each_view_has_its_own_row() -> None:
    both = predict_logits(LeftHalf(), CONFIG, PIXELS, ["hflip", "identity"], CPU, 4)
    assert both[0] == pytest.approx(both[1][:, ::-1], abs=1e-5)  # mirrored, left and right change places
    assert np.abs(both[0] - both[1]).max() > 0.01


def test_flipping_is_left_to_right_not_upside_down() -> None:
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    hflip = parse_view("hflip")
    assert apply_view(hflip, images)[0, 0, 0].tolist() == [3.0, 2.0, 1.0, 0.0]
    assert torch.equal(apply_view(hflip, apply_view(hflip, images)), images)
    assert torch.equal(apply_view(parse_view("identity"), images), images)


def test_a_sliced_or_read_only_canvas_will_do(net: nn.Module) -> None:
    pixels = PIXELS[::2]
    pixels.flags.writeable = False
    assert predict_logits(net, CONFIG, pixels, ["identity"], CPU, 4).shape == (1, 6, 5)


def test_what_is_raised_before_a_batch_ends_the_loop(net: nn.Module) -> None:
    seen: list[int] = []

    def stop(done: int) -> None:
        seen.append(done)
        if done >= 4:
            raise OutOfTime

    with pytest.raises(OutOfTime):
        predict_logits(net, CONFIG, PIXELS, ["identity"], CPU, 4, stop)
    assert seen == [0, 4]


def test_no_items_and_strange_views_are_errors(net: nn.Module) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        predict_logits(net, CONFIG, PIXELS[:0], ["identity"], CPU, 4)
    with pytest.raises(ViewError, match="unknown view 'hflop': did you mean 'hflip'. Allowed: identity, hflip"):
        predict_logits(net, CONFIG, PIXELS, ["hflop"], CPU, 4)
    with pytest.raises(ViewError, match="a view is named twice: hflip, hflip; name each once"):
        require_views(["hflip", "hflip"])


def test_a_dead_gpu_is_not_used(monkeypatch, capsys) -> None:
    def die(number: int) -> None:
        raise RuntimeError("no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("foldpack.predict.device.probe_cuda", die)
    assert pick_device() == CPU
    assert "GPU 1 does not work (no kernel image is available for execution on the device)" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device() == CPU


def make_items(folder: Path, count: int = 9) -> Items:
    for k in range(count):
        Image.new("L", (8, 8), 10 * k).save(folder / f"{k}.png")
    return whole_images([str(k) for k in range(count)], [folder / f"{k}.png" for k in range(count)])


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_items_are_decoded_in_order_and_broken_ones_are_told(tmp_path: Path, threads: int) -> None:
    items = make_items(tmp_path)
    items.images[3].write_bytes(b"broken")
    items.images[7].unlink()
    done: list[int] = []
    canvas = decode_items(items, CanvasKind(4), threads, done.append)
    assert canvas.pixels.shape == (9, 4, 4, 3) and canvas.pixels.dtype == np.uint8
    assert canvas.pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 0, 40, 50, 60, 0, 80]
    assert np.flatnonzero(canvas.broken).tolist() == [3, 7]
    assert [str(items.images[3]) in canvas.reasons[0], str(items.images[7]) in canvas.reasons[1]] == [True, True]
    assert done[-1] == 9


def test_a_deadline_stops_the_decoding_without_doing_the_rest(tmp_path: Path, monkeypatch) -> None:
    decoded: list[Path] = []

    def slow(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        decoded.append(path)
        time.sleep(0.01)
        return Decoded({kind: black_canvas(kind) for kind in kinds}, "decoded", "")

    def stop(done: int) -> None:
        raise OutOfTime

    monkeypatch.setattr("foldpack.predict.canvas.decode_item", slow)
    items = whole_images([str(k) for k in range(20_000)], [Path(str(k)) for k in range(20_000)])
    with pytest.raises(OutOfTime):
        decode_items(items, CanvasKind(1), 2, stop)
    assert len(decoded) < 20_000


def test_nothing_to_decode() -> None:
    assert decode_items(whole_images([], []), CanvasKind(8), 2).pixels.shape == (0, 8, 8, 3)
