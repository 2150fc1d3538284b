"""Activations that are computed again change no bit of what is learned, batch norms and dropout included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import quiet, toy_config, toy_set

from foldpack.competitions.adapters import find_adapter
from foldpack.settings.run import ConfigError
from foldpack.train.checks import check_names
from foldpack.train.fit import fit_fold
from foldpack.train.loop.training import FoldTraining

NETS = {"batch norm": {"arch": "test_resnet", "size": 16},
        "dropout": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2, "proj_drop_rate": 0.3}},
        "a layer with a batch norm of timm's": {"arch": "test_efficientnet", "size": 32}}


@pytest.mark.parametrize("name", NETS)
def test_the_weights_are_the_same_to_the_bit_and_blocks_are_computed_twice(name: str) -> None:
    results, calls = [], []
    for on in (False, True):
        config = toy_config(net=NETS[name], epochs=2, grad_checkpointing=on)
        results.append(fit_fold(config, toy_set(), 0, quiet))
        training, seen = FoldTraining(config, toy_set(), 0), []
        inner = [module for module in training.plain.modules() if isinstance(module, nn.Conv2d | nn.Linear)][3]
        inner.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(1))
        training.epoch(0)
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0] > 0
    assert list(results[0].weights) == list(results[1].weights) and results[0].score == results[1].score
    assert all(torch.equal(results[0].weights[each], results[1].weights[each]) for each in results[0].weights)


def test_it_is_switched_on_behind_the_last_layer_of_a_regressor_too() -> None:
    data = replace(toy_set(), targets=np.arange(36.0)[:, None], classes=["value"], task="regress")
    config = toy_config(task="regress", loss={"name": "mse"}, metric="rmse", grad_checkpointing=True)
    training = FoldTraining(config, data, 0)
    assert training.plain[0].grad_checkpointing


def test_a_network_without_it_is_one_line_before_anything_is_decoded(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef small(pretrained, num_classes):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))\n")
    monkeypatch.chdir(tmp_path)
    for arch, size, rest in (("inception_v3", 80, "cannot: gradient checkpointing not supported; leave it out, or"),
                             ("own.py:small", 16, "has no method `set_grad_checkpointing(enable)`; give yours one")):
        with pytest.raises(ConfigError) as caught:
            check_names(toy_config(net={"arch": arch, "size": size}, grad_checkpointing=True), find_adapter("digits"))
        assert str(caught.value).startswith(f"run 'toy': grad_checkpointing: network '{arch}' {rest}")
        assert "\n" not in str(caught.value)
