"""Logits that are cosines: as their definition says, in training and from a checkpoint, for networks with a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_training import quiet, toy_config, toy_set
from view_arrays import predict_logits, views_array

from foldpack.models.checkpoint import CheckpointInfo, restore_net
from foldpack.models.classifier import ModelError, build_classifier
from foldpack.models.cosine_head import CosineHead
from foldpack.settings.network import NetConfig
from foldpack.settings.run import ConfigError, config_text
from foldpack.train.fit import fit_fold
from foldpack.train.loop.freezing import Freezing

NET = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}, "cosine": 20.0}


def test_a_logit_is_a_cosine_times_the_scale() -> None:
    head = CosineHead(6, 4, 20.0)
    features, weight = torch.randn(5, 6) * 7, head.weight.detach().numpy().astype(float)
    seen = features.numpy().astype(float)
    cosines = seen @ weight.T / np.linalg.norm(seen, axis=1)[:, None] / np.linalg.norm(weight, axis=1)
    np.testing.assert_allclose(head(features).detach().numpy(), 20 * cosines, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), head(features.clone())) and head(features).dtype == torch.float32
    np.testing.assert_allclose(head.half()(features.half()).detach().numpy(), 20 * cosines, atol=0.05)


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_efficientnet", "tf_efficientnet_lite0",
                                  "convnext_atto"])
@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_every_networks_last_layer_is_replaced_and_the_scale_bounds_its_logits(arch: str, scale: float) -> None:
    config = NetConfig(arch=arch, size=64, kwargs={"img_size": 64} if "vit" in arch else {}, cosine=scale)
    net = build_classifier(config, 7).eval()
    with torch.inference_mode():
        logits = net(torch.randn(3, 3, 64, 64))
    assert logits.shape == (3, 7) and logits.abs().max() <= scale * 1.0001
    [head] = [module for module in net.modules() if isinstance(module, CosineHead)]
    assert net.get_classifier() is head


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_it_learns_and_its_checkpoint_alone_gives_its_predictions(precision: str) -> None:
    config, data = toy_config(net=NET, precision=precision, epochs=6), toy_set()
    result = fit_fold(config, data, 1, quiet)
    assert result.score > 0.9
    info = CheckpointInfo(run="toy", fold=1, epoch=0, score=0.0, n_classes=3, net=config.net, config_sha256="",
                          folds_sha256="", seconds_per_image=0.0)
    told = CheckpointInfo.model_validate_json(info.model_dump_json())
    net = restore_net(result.weights, told, "toy")
    again = predict_logits(net, told.net, data.pixels.canvases[data.fold == 1], ["identity"], torch.device("cpu"), 5)
    assert told.net.cosine == 20.0 and np.abs(again - views_array(result.views)).max() <= 1e-4


def test_the_head_is_known_to_learn_first() -> None:
    config = toy_config(net=NET, optim={"head_epochs": 1})
    net = build_classifier(config.net, 3)
    Freezing(config, net).begin(0)
    assert [name for name, one in net.named_parameters() if one.requires_grad] == ["head.weight"]


def test_networks_without_it_are_told_as_before() -> None:
    plain = NetConfig(arch="resnet18", size=32)
    assert "cosine" not in plain.model_dump() and "cosine" not in plain.model_dump_json()
    assert "cosine: 20.0" in config_text(toy_config(net=NET)) and "cosine:" not in config_text(toy_config())


def test_what_it_does_not_fit() -> None:
    with pytest.raises(ModelError, match="network 'x' with .* cannot be built: net.cosine needs a network whose"):
        build_classifier(NetConfig(arch="x", size=32, cosine=20.0), 3, make=lambda **_: torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="task 'regress' does not read net.cosine; it is read by classify"):
        toy_config(task="regress", net=NET, loss={"name": "mse"}, metric="rmse")
