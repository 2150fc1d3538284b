"""Networks by name, and checkpoints that rebuild them: what goes in comes out, everything foreign is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from foldpack.models.checkpoint import CheckpointInfo, read_checkpoint, restore_net, save_checkpoint
from foldpack.models.classifier import ModelError, build_classifier, normalise, require_output
from foldpack.settings.network import NetConfig

NET = NetConfig(arch="test_vit", size=32, kwargs={"img_size": 32})


def info(**changes: object) -> CheckpointInfo:
    data: dict = {"run": "one", "fold": 2, "epoch": 4, "score": 0.5, "n_classes": 3, "net": NET,
                  "config_sha256": "a" * 64, "folds_sha256": "b" * 64, "seconds_per_image": 0.01}
    return CheckpointInfo(**{**data, **changes})


def test_a_checkpoint_rebuilds_the_network_it_came_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_classifier(NET, 3)
    images = torch.randn(2, 3, 32, 32)
    save_checkpoint(tmp_path / "a.safetensors", net.state_dict(), info())
    weights, read = read_checkpoint(tmp_path / "a.safetensors")
    again = restore_net(weights, read, "a")
    assert read == info() and not again.training
    with torch.inference_mode():
        assert torch.equal(again(images), net.eval()(images))


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones((), dtype=torch.float16)}
    save_checkpoint(tmp_path / "1", weights, info())
    save_checkpoint(tmp_path / "2", {name: tensor.clone() for name, tensor in reversed(weights.items())}, info())
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert torch.equal(read_checkpoint(tmp_path / "1")[0]["a"], weights["a"])


def test_weights_that_do_not_fit_their_network(tmp_path: Path) -> None:
    weights = build_classifier(NET, 4).state_dict()
    with pytest.raises(ModelError) as caught:
        restore_net(weights, info(), "one/fold2")
    assert "one/fold2: the weights do not fit network 'test_vit' with 3 classes: " in str(caught.value)
    assert "head.weight is (4, 64) where (3, 64) is wanted" in str(caught.value) and "\n" not in str(caught.value)
    weights["head.wait"] = weights.pop("head.weight")
    with pytest.raises(ModelError, match="head.weight is missing, head.wait is not wanted$"):
        restore_net(weights, info(n_classes=4), "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the checkpoint .*No such file"), (b"", "cannot read the checkpoint"),
     (b"\x80\x04\x95 pickled", "cannot read the checkpoint"), (b"PK\x03\x04" + bytes(60), "cannot read the checkpoin")],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "no foldpack metadata in these weights; save them with `foldpack train`"),
        ({"foldpack": "{"}, "the foldpack metadata is not JSON; train the run again"),
        ({"foldpack": "[]"}, "expected a mapping of keys to values, got list"),
        ({"foldpack": json.dumps({**info().model_dump(mode="json"), "version": 2})}, "version: input should be 1, got"),
        ({"foldpack": json.dumps({**info().model_dump(mode="json"), "ruN": "x"})}, "unknown key 'ruN': did you mean '"),
    ],
)
def test_foreign_metadata(tmp_path: Path, metadata: dict | None, message: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a", metadata=metadata)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path / "a")
    assert message in str(caught.value) and str(tmp_path / "a") in str(caught.value)


def test_an_unknown_network_names_its_neighbours() -> None:
    with pytest.raises(ModelError, match=r"unknown network 'resnet10': did you mean 'resnet10t'\? Near it: resnet10t,"):
        build_classifier(NetConfig(arch="resnet10", size=32), 2)
    with pytest.raises(ModelError, match=r"unknown network 'zzz': timm .* knows \d+ names, list them with timm.list_m"):
        build_classifier(NetConfig(arch="zzz", size=32), 2)
    with pytest.raises(ModelError, match="network 'resnet10t.nobody' with {} cannot be built: "):
        build_classifier(NetConfig(arch="resnet10t.nobody", size=32), 2)


@pytest.mark.parametrize("kwargs", [{"no_such_argument": 1}, {"depth": "three"}])
def test_arguments_that_the_network_does_not_take(kwargs: dict) -> None:
    with pytest.raises(ModelError) as caught:
        build_classifier(NetConfig(arch="test_vit", size=32, kwargs=kwargs), 2)
    assert f"network 'test_vit' with {kwargs} cannot be built: " in str(caught.value)


def test_a_size_that_the_network_does_not_take() -> None:
    config = NetConfig(arch="vit_tiny_patch16_224", size=32)
    with pytest.raises(ModelError, match=r"'vit_tiny_patch16_224' does not take images of 32 px: .* change net.size"):
        require_output(config, build_classifier(config, 2), 2)
    require_output(NET, build_classifier(NET, 2), 2)


def test_a_network_without_a_classifier() -> None:
    config = NetConfig(arch="flat", size=8)
    with pytest.raises(ModelError, match=r"network 'flat' gives \(1, 192\) for one image, not \(1, 2\); it is no clas"):
        require_output(config, nn.Flatten(), 2)


def test_normalising_is_per_channel_and_for_pixels_in_0_to_1() -> None:
    config = NetConfig(arch="a", size=8, mean=[0.0, 0.5, 1.0], std=[1.0, 0.5, 0.25])
    pixels = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)  # (1, 1, 1, 3)
    out = normalise(pixels, config)
    assert out.shape == (1, 3, 1, 1) and out.dtype == torch.float32
    assert out.flatten().tolist() == pytest.approx([1.0, -1.0, -3.2])
