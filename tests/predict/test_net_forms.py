"""A form of a network is kept only when it is faster here and says the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foldpack.predict.net_forms import COMPILE_SECONDS, TunedNet, same_outputs, time_module, tune_net

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    return layers.to(memory_format=torch.channels_last).eval()


def choose(seconds: dict[str, float], batches: float = 1.0, wrong: str = "") -> tuple[str, list[str], nn.Module]:
    """What is chosen when the forms take so long; `wrong` gives other numbers."""
    tried: list[str] = []

    def timer(module: nn.Module, sample: torch.Tensor) -> tuple[float, torch.Tensor]:
        assert isinstance(module, TunedNet)
        tried.append(module.form)
        return seconds[module.form], torch.ones(2, 5) * (2 if module.form == wrong else 1)

    net = make_net()
    return tune_net(net, IMAGES, batches, timer).form, tried, net


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [({"channels_last": 1.0, "contiguous": 1.2}, "channels_last"),
     ({"channels_last": 1.0, "contiguous": 0.97}, "channels_last"),
     ({"channels_last": 1.0, "contiguous": 0.9}, "contiguous")])
def test_the_faster_order_of_pixels_is_taken(seconds: dict[str, float], expected: str) -> None:
    form, tried, net = choose(seconds)
    assert form == expected and tried == ["channels_last", "contiguous"]
    assert net[0].weight.is_contiguous() == (expected == "contiguous")


def test_a_faster_form_with_other_numbers_is_refused() -> None:
    assert choose({"channels_last": 1.0, "contiguous": 0.1}, wrong="contiguous")[0] == "channels_last"


def test_compiling_is_tried_only_where_it_can_pay_twice() -> None:
    seconds = {"channels_last": 1.0, "contiguous": 2.0, "compiled": 0.5}
    enough = 2 * COMPILE_SECONDS / (1 - 1 / 1.3)
    assert choose(seconds, enough * 0.99)[:2] == ("channels_last", ["channels_last", "contiguous"])
    assert choose(seconds, enough * 1.01)[0] == "compiled"
    assert choose({**seconds, "compiled": 0.99}, enough * 1.01)[0] == "channels_last"
    assert choose(seconds, enough * 1.01, wrong="compiled")[0] == "channels_last"


def test_all_forms_say_the_same_and_take_new_weights() -> None:
    net, other = make_net(), make_net()
    nn.init.ones_(other[3].weight)
    with torch.inference_mode():
        expected = net(IMAGES)
        for form in ("channels_last", "contiguous"):
            assert same_outputs(expected, TunedNet(net, form)(IMAGES))
        tuned = TunedNet(net, "contiguous")
        net.load_state_dict(other.state_dict())
        assert torch.allclose(tuned(IMAGES), other(IMAGES), atol=1e-5)


def test_a_form_that_fails_is_slow_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler\nmore")

    spent, outputs = time_module(Broken(), IMAGES)
    assert spent == float("inf") and not same_outputs(torch.ones(1), outputs)
    assert "a form of the network does not work here (no compiler)" in capsys.readouterr().out


def test_a_measured_time_is_that_of_a_batch() -> None:
    spent, outputs = time_module(TunedNet(make_net(), "channels_last"), IMAGES)
    assert 0 < spent < 5 and outputs.shape == (4, 5)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_numbers_for_every_batch_size() -> None:
    net = make_net()
    compiled = TunedNet(net, "compiled")
    with torch.inference_mode():
        for count in (4, 3, 1):
            assert same_outputs(net(IMAGES[:count]), compiled(IMAGES[:count]))
    assert compiled.full == 4
