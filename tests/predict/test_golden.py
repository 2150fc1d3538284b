"""The golden check: a network that computes something else is refused, by the name of its run and the versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from foldpack.models.checkpoint import CheckpointInfo, GoldenLogits
from foldpack.models.classifier import build_classifier
from foldpack.predict.golden import (
    GOLDEN_CLASSES,
    GoldenError,
    check_golden,
    golden_logits,
    golden_pixels,
    library_versions,
    remember_golden,
)
from foldpack.settings.network import NetConfig

CPU = torch.device("cpu")
CONFIG = NetConfig(arch="test_resnet", size=32)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(CONFIG, 5).eval()


def info_with(golden: GoldenLogits | None) -> CheckpointInfo:
    return CheckpointInfo.model_construct(run="resnet", fold=3, net=CONFIG, n_classes=5, golden=golden)


def test_the_picture_is_the_same_everywhere_and_not_flat() -> None:
    pixels = golden_pixels(CONFIG)
    assert pixels.shape == (2, 32, 32, 3) and pixels.dtype == torch.uint8
    assert torch.equal(pixels[1], pixels[0].flip(1)) and not torch.equal(pixels[0], pixels[1])
    assert pixels[0, 1, 2].tolist() == [11, 0, 40]
    other = golden_pixels(NetConfig(arch="test_resnet", size=[16, 24], channels=2, mean=[0.5] * 2, std=[0.2] * 2))
    assert other.shape == (2, 16, 24, 2) and torch.equal(other[0, ..., 0], pixels[0, :16, :24, 0])
    assert pixels.float().std() > 30


def test_the_same_network_agrees(net: nn.Module) -> None:
    golden = remember_golden(net, CONFIG, CPU)
    assert golden.versions == library_versions() and set(golden.versions) == {"timm", "torch"}
    assert np.asarray(golden.logits).shape == (2, 5)
    difference = check_golden(net, info_with(golden), CPU)
    assert difference is not None and difference < 1e-4


def test_only_the_first_classes_are_remembered() -> None:
    wide = build_classifier(CONFIG, 50).eval()
    assert golden_logits(wide, CONFIG, CPU).shape == (2, GOLDEN_CLASSES)


def test_a_checkpoint_without_memory_is_not_checked(net: nn.Module) -> None:
    assert check_golden(net, info_with(None), CPU) is None


class Elsewhere(nn.Module):
    """The same weights under another version of a library: another padding, say."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(torch.roll(images, 3, dims=2)) + 0.1


def test_another_network_is_refused_with_run_difference_and_both_versions(net: nn.Module) -> None:
    golden = remember_golden(net, CONFIG, CPU)
    golden = GoldenLogits(logits=golden.logits, versions={"timm": "0.9.0", "torch": "2.1.0"})
    with pytest.raises(GoldenError) as caught:
        check_golden(Elsewhere(net), info_with(golden), CPU)
    text = str(caught.value)
    here = library_versions()
    assert text.startswith("run 'resnet' fold 3: the network 'test_resnet' differs by 0.")
    assert f"timm 0.9.0 -> {here['timm']}, torch 2.1.0 -> {here['torch']}" in text and "allowed: 0.0" in text


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_no_number_is_no_agreement(net: nn.Module, wrong: float) -> None:
    golden = remember_golden(net, CONFIG, CPU)

    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return net(images) * wrong

    with pytest.raises(GoldenError, match="differs by (nan|inf)"):
        check_golden(Broken(), info_with(golden), CPU)


def test_another_number_of_classes_is_refused(net: nn.Module) -> None:
    golden = remember_golden(net, CONFIG, CPU)
    fewer = GoldenLogits(logits=[row[:4] for row in golden.logits], versions=golden.versions)
    with pytest.raises(GoldenError, match="differs by nan"):
        check_golden(net, info_with(fewer), CPU)
