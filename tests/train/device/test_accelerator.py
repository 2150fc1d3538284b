"""What is asked of the device is there or an error; a compiled network trains, and its weights are plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_training import quiet, toy_config, toy_set

from foldpack.competitions.adapters import find_adapter
from foldpack.settings.run import ConfigError
from foldpack.train.checks import check_names
from foldpack.train.fit import fit_fold
from foldpack.train.loop.training import FoldTraining

DIGITS = find_adapter("digits")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """torch.compile without its compiler, which takes seconds; the modes that it was asked for."""
    modes: list[Any] = []
    real = torch.compile

    def quick(net: torch.nn.Module, mode: str | None = None) -> Any:
        modes.append(mode)
        return real(net, backend="eager")

    monkeypatch.setattr(torch, "compile", quick)
    return modes


@pytest.mark.parametrize(("changes", "message"), [
    ({"device": "gpu"}, "run 'toy': device is gpu, and torch 2"),
    ({"precision": "fp16", "device": "cpu"}, "run 'toy': precision fp16 needs a GPU, and there is none; allowed here:"),
    ({"batch_size": 1, "net": {"arch": "test_resnet", "size": 16}},
     "run 'toy': batch_size is 1, and network 'test_resnet' has batch norms, which need 2 images or more; raise"),
])
def test_a_device_or_batch_that_cannot_be_is_one_line_before_anything_is_decoded(changes: dict, message: str) -> None:
    if torch.cuda.is_available() and changes.get("device") == "gpu":
        pytest.skip("there is one")
    with pytest.raises(ConfigError) as caught:
        check_names(toy_config(**changes), DIGITS)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_batches_of_one_image_are_for_networks_whose_batch_norms_do_not_learn() -> None:
    check_names(toy_config(batch_size=1), DIGITS)  # a vit
    net = {"arch": "test_resnet", "size": 16}
    with pytest.raises(ConfigError, match="which need 2 images"):  # of the stages that are not frozen
        check_names(toy_config(batch_size=1, net=net, optim={"freeze": 2}), DIGITS)
    check_names(toy_config(batch_size=1, net=net, optim={"freeze": 5}), DIGITS)


def test_the_device_that_was_asked_for_is_used() -> None:
    assert FoldTraining(toy_config(device="cpu"), toy_set(), 0).accelerator.device.type == "cpu"


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_compiled_network_learns_the_same_and_its_weights_have_plain_names(eager: list[Any], ema: float) -> None:
    changes = {"net": {"arch": "test_resnet", "size": 16}, "epochs": 2, "ema": ema}
    results = [fit_fold(toy_config(compile=mode, **changes), toy_set(), 0, quiet) for mode in (False, True)]
    assert list(results[0].weights) == list(results[1].weights) and eager == [None]
    assert all(torch.allclose(results[0].weights[name], results[1].weights[name], atol=1e-5)
               for name in results[0].weights)


def test_a_compiled_network_is_what_learns_and_its_mode_is_asked_for(eager: list[Any]) -> None:
    training = FoldTraining(toy_config(compile="max-autotune", optim={"warmup_epochs": 0, "head_epochs": 1}),
                            toy_set(), 0)
    assert eager == ["max-autotune"] and training.net is not training.plain
    frozen, head = training.plain.norm.weight.clone(), training.plain.head.weight.clone()
    training.epoch(0)
    assert torch.equal(frozen, training.plain.norm.weight) and not torch.equal(head, training.plain.head.weight)
    training.epoch(1)
    assert not torch.equal(frozen, training.plain.norm.weight)


def test_a_compiler_that_is_not_there_is_told_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(net: torch.nn.Module, mode: str | None = None) -> Any:
        def call(*inputs: Any) -> Any:
            raise RuntimeError("\nNo working C++ compiler found in cpp.cxx\nmore of it")
        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ConfigError) as caught:
        check_names(toy_config(compile=True, device="cpu"), DIGITS)
    assert str(caught.value) == (
        "run 'toy': compile is True, and torch.compile does not work on this cpu: No working C++ compiler found in "
        "cpp.cxx; install what it names, or set compile: false")


@pytest.mark.slow
def test_with_its_compiler_and_gradient_checkpointing_it_learns_nearly_the_same() -> None:
    """About a minute. Batch norms count every batch once."""
    changes = {"net": {"arch": "test_resnet", "size": 16}, "epochs": 1, "optim": {"lr": 1e-3, "warmup_epochs": 0}}
    check_names(toy_config(compile=True, **changes), DIGITS)
    results = [fit_fold(toy_config(compile=mode, grad_checkpointing=mode, **changes), toy_set(), 0, quiet)
               for mode in (False, True)]
    assert list(results[0].weights) == list(results[1].weights)
    assert all(torch.allclose(results[0].weights[name].float(), results[1].weights[name].float(), atol=2e-3)
               for name in results[0].weights)
