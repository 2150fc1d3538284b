"""The forward pass survives a lack of memory and an overflow of half precision, with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from view_arrays import predict_logits, views_array

from foldpack.data.geometry import CanvasKind
from foldpack.models.classifier import build_classifier
from foldpack.predict.loop import Forward, NotFinite, PredictError, finite_rows
from foldpack.predict.net_forms import TunedNet
from foldpack.predict.pixel_source import HeldPixels
from foldpack.predict.view import ViewError
from foldpack.predict.views import parse_views
from foldpack.settings.network import Geometry, NetConfig

CPU = torch.device("cpu")
CONFIG = NetConfig(arch="test_efficientnet", size=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3), dtype=np.uint8)
HELD = HeldPixels(CanvasKind(32), PIXELS)
VIEWS = ["identity", "hflip", "rot90"]


class Small(nn.Module):
    """A device with room for so many images at a time."""

    def __init__(self, net: nn.Module, most: int, words: str = "CUDA out of memory. Tried to allocate 2 GiB") -> None:
        super().__init__()
        self.net, self.most, self.words = net, most, words
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise RuntimeError(self.words)
        self.sizes.append(len(images))
        return self.net(images)


class Overflowing(nn.Module):
    """Infinite where the arithmetic is in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.seen: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out = self.layer(images.mean((2, 3)))
        self.seen.append(out.dtype)
        return out if out.dtype == torch.float32 else out * float("inf")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(CONFIG, 5).eval()


@pytest.mark.parametrize("most", [1, 2, 3, 5, 16, 32])
def test_out_of_memory_halves_the_batch_and_then_the_views(net: nn.Module, most: int, capsys) -> None:
    whole = predict_logits(net, CONFIG, PIXELS, VIEWS, CPU, 48)
    small = Small(net, most)
    forward = Forward(small, CONFIG, parse_views(VIEWS, CONFIG), CPU, 48)
    got = views_array(forward.rows(HELD, 0, 23))
    assert np.abs(got - whole).max() <= 1e-5
    assert max(small.sizes) <= most and "cpu: out of memory at 32 px; going on with " in capsys.readouterr().out
    assert np.abs(views_array(forward.rows(HELD, 5, 23)) - whole[:, 5:]).max() <= 1e-5
    assert not capsys.readouterr().out  # the smaller batch is remembered


class Crowded(Small):
    """A device on which the room shrinks after so many batches."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(self.sizes) == 2:
            self.most = min(self.most, 5)
        return super().forward(images)


@pytest.mark.parametrize("kind", [Small, Crowded])
@pytest.mark.parametrize("form", ["channels_last", "contiguous", "compiled"])
def test_a_network_of_any_form_recovers_from_a_lack_of_memory(net: nn.Module, form: str, kind: type[Small],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled one pads the last batch to the size of the others: never to the one that did not fit."""
    monkeypatch.setattr(torch, "compile", lambda module: module)
    small = kind(net, 16)
    forward = Forward(TunedNet(small, form), CONFIG, parse_views(["identity"], CONFIG), CPU, 22)
    expected = predict_logits(net, CONFIG, PIXELS, ["identity"], CPU, 48)
    for start in (0, 3, 22):
        assert np.abs(views_array(forward.rows(HELD, start, 23)) - expected[:, start:]).max() <= 1e-5
    assert max(small.sizes) <= 16 and forward.batch_size <= 11


@pytest.mark.slow
def test_a_network_that_torch_compiled_recovers_from_a_lack_of_memory(net: nn.Module,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: real(module, backend="eager"))
    forward = Forward(TunedNet(Small(net, 16), "compiled"), CONFIG, parse_views(["identity"], CONFIG), CPU, 64)
    pixels = np.concatenate([PIXELS] * 4)
    got = views_array(forward.rows(HeldPixels(HELD.kind, pixels), 0, len(pixels)))
    assert forward.batch_size == 16
    assert np.abs(got - predict_logits(net, CONFIG, pixels, ["identity"], CPU, 16)).max() <= 1e-5


def test_no_room_for_one_image_is_an_error_and_other_errors_stay_what_they_are(net: nn.Module) -> None:
    with pytest.raises(PredictError, match="one image of 32 px does not fit into the memory of cpu: CUDA out"):
        Forward(Small(net, 0), CONFIG, parse_views(VIEWS, CONFIG), CPU, 8).rows(HELD, 0, 4)
    with pytest.raises(RuntimeError, match="^illegal memory access$"):
        Forward(Small(net, 0, "illegal memory access"), CONFIG, parse_views(VIEWS, CONFIG), CPU, 8).rows(HELD, 0, 4)


def test_what_is_not_finite_in_half_precision_is_done_again_in_float32(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    network = Overflowing().eval()
    exact = predict_logits(network, CONFIG, PIXELS, ["identity"], CPU, 8, precision="fp32")
    forward = Forward(network, CONFIG, parse_views(["identity"], CONFIG), CPU, 8, "bf16")
    network.seen.clear()
    assert np.array_equal(views_array(finite_rows(forward, HELD, 0, 23, source="resnet/fold1")), exact)
    assert network.seen[0] == torch.bfloat16 and set(network.seen[1:]) == {torch.float32}
    assert "resnet/fold1: 32 of 32 outputs are not finite in bf16; going on in float32" in capsys.readouterr().out
    network.seen.clear()
    finite_rows(forward, HELD, 0, 8)
    assert network.seen == [torch.float32]  # and it stays so


def test_what_is_not_finite_in_float32_is_an_error() -> None:
    network = Overflowing().eval()
    with torch.no_grad():
        network.layer.bias[2] = float("nan")
    forward = Forward(network, CONFIG, parse_views(["identity"], CONFIG), CPU, 8, "fp32")
    with pytest.raises(NotFinite):
        forward.rows(HELD, 0, 8)
    with pytest.raises(PredictError, match="resnet/fold1: 8 of 32 outputs are not finite in float32; the weights are"):
        finite_rows(forward, HELD, 0, 8, source="resnet/fold1")


class Shown(nn.Module):
    """Logits: height and width of what it is shown, the mean of each channel. Notes each shape."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        sides = torch.tensor(images.shape[2:], dtype=torch.float32).expand(len(images), 2)
        return torch.cat([sides, images.mean((2, 3))], dim=1)


LONG = NetConfig(arch="test_efficientnet", size=32, canvas=48, geometry=Geometry(kind="long", multiple=16))
PAGES = [np.random.default_rng(row).integers(0, 256, (*shape, 3), dtype=np.uint8)
         for row, shape in enumerate([(48, 32), (48, 48), (48, 32), (16, 48), (48, 48), (48, 32)])]


def test_images_of_unequal_shape_are_never_padded_and_do_not_depend_on_their_neighbours(net: nn.Module) -> None:
    whole = predict_logits(net, LONG, PAGES, ["identity", "rot90"], CPU, 16)
    for row, page in enumerate(PAGES):
        alone = predict_logits(net, LONG, [page], ["identity", "rot90"], CPU, 16)[:, 0]
        assert np.abs(alone - whole[:, row]).max() <= 1e-5
    order = [4, 2, 0, 5, 1, 3]
    assert np.abs(predict_logits(net, LONG, [PAGES[row] for row in order], ["identity", "rot90"], CPU, 6)
                  - whole[:, order]).max() <= 1e-5
    small = Small(net, 1)  # out of memory: one image at a time, then one view
    assert np.abs(predict_logits(small, LONG, PAGES, ["identity", "rot90"], CPU, 16) - whole).max() <= 1e-5
    seen = Shown()
    got = predict_logits(seen, LONG, PAGES, ["identity"], CPU, 16)
    assert sorted(seen.shapes) == [(1, 3, 16, 32), (2, 3, 32, 32), (3, 3, 32, 16)]
    assert got[0, :, :2].tolist() == [[32, 16], [32, 32], [32, 16], [16, 32], [32, 32], [32, 16]]


def test_a_side_changes_what_the_network_is_shown_and_grey_its_colours() -> None:
    views = ["identity", "side:48", "rot90", "grey", "side:16+grey"]
    got = predict_logits(Shown(), LONG, PAGES[:1], views, CPU, 16)[:, 0]
    assert got[:, :2].tolist() == [[32, 16], [48, 32], [16, 32], [32, 16], [16, 16]]
    square = NetConfig(arch="a", size=[16, 24], canvas=[32, 48], mean=[0.0] * 3, std=[1.0] * 3)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    got = predict_logits(Shown(), square, pixels, views, CPU, 16)
    assert got[:, 0, :2].tolist() == [[16, 24], [32, 48], [24, 16], [16, 24], [11, 16]]
    means = pixels.mean((1, 2)) / 255
    assert np.abs(got[1, :, 2:] - means).max() <= 1e-4 and np.abs(got[0, :, 2:] - means).max() <= 0.01
    assert np.abs(got[4, :, 2:] - (means @ [0.299, 0.587, 0.114])[:, None]).max() <= 0.01
    with pytest.raises(ViewError, match="view 'side:64' is larger than the canvas of 48 px"):
        predict_logits(Shown(), square, pixels, ["side:64"], CPU, 16)


def test_large_canvases_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.predict.loop.BATCH_BYTES", 5 * 32 * 32 * 3)
    seen = Shown()
    predict_logits(seen, CONFIG, PIXELS, ["identity"], CPU, 16)
    assert [shape[0] for shape in seen.shapes] == [5, 5, 5, 5, 3]
