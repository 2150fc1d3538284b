"""What is frozen stays as it was, with its batch norms; what learns alone learns; layers have rates of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from small_house import tiny_config
from timm.models import group_parameters
from toy_training import Scripted, quiet, toy_config, toy_set

from foldpack.competitions.adapters import find_adapter
from foldpack.settings.run import ConfigError, RunConfig, parse_config
from foldpack.train.checks import check_names
from foldpack.train.evaluate import FoldResult
from foldpack.train.fit import fit_fold
from foldpack.train.loop.freezing import named_part, stages_of
from foldpack.train.loop.training import FoldTraining

RESNET = {"arch": "test_resnet", "size": 16}
STARTED = {**RESNET, "pretrained": {"file": "a.pth"}}


def config_of(changes: dict | None = None, **optim: object) -> RunConfig:
    return toy_config(**{"net": RESNET, **(changes or {})}, optim={"lr": 1e-2, "warmup_epochs": 0, **optim})


def copied(training: FoldTraining) -> dict[str, torch.Tensor]:
    return {name: one.detach().cpu().clone() for name, one in training.plain.state_dict().items()}


def moved(training: FoldTraining, before: dict[str, torch.Tensor]) -> set[str]:
    """The first parts of the names of weights and statistics that are not as they were."""
    return {name.split(".")[0] for name, one in copied(training).items() if not torch.equal(one, before[name])}


def test_frozen_stages_never_move_and_neither_do_their_batch_norms() -> None:
    training = FoldTraining(config_of(freeze=2, weight_decay=0.5), toy_set(), 0)
    before = copied(training)
    for epoch in range(2):
        training.epoch(epoch)
        training.evaluate(epoch)
    assert moved(training, before) == {"layer2", "layer3", "layer4", "fc"}
    held = {id(one) for group in training.optimizer.param_groups for one in group["params"]}
    assert all((id(one) in held) == one.requires_grad for one in training.plain.parameters())
    everything = FoldTraining(config_of(), toy_set(), 0)
    everything.epoch(0)
    assert moved(everything, before) == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}


def test_the_head_learns_alone_and_then_the_others_join_in() -> None:
    training = FoldTraining(config_of(head_epochs=2, freeze=1), toy_set(), 0)
    for epoch, expected in enumerate([{"fc"}, {"fc"}, {"layer1", "layer2", "layer3", "layer4", "fc"}]):
        before = copied(training)
        training.epoch(epoch)
        training.evaluate(epoch)
        assert moved(training, before) == expected


@pytest.mark.parametrize(("task", "changes"), [
    ("regress", {"loss": {"name": "mse"}, "metric": "rmse"}),
    ("regress", {"loss": {"name": "ordinal"}, "metric": "rmse", "net": {**RESNET, "bins": 4}}),
    ("embed", {"loss": {"name": "cosface"}, "metric": "map1"})])
def test_heads_and_stages_of_values_and_vectors(task: str, changes: dict) -> None:
    targets = np.arange(36) % 3 if task == "embed" else np.arange(36.0)[:, None]
    data = replace(toy_set(), targets=targets, task=task, classes=list("abc") if task == "embed" else ["a"])
    config = toy_config(task=task, **{"net": RESNET, "optim": {"head_epochs": 1, "freeze": 3, "lr": 1e-2}, **changes})
    training = FoldTraining(config, data, 0)
    before = copied(training)
    training.epoch(0)
    first = {name for name, one in copied(training).items() if not torch.equal(one, before[name])}
    assert first == {"0.fc.weight", "0.fc.bias"}
    training.epoch(1)
    after = {name for name, one in copied(training).items() if not torch.equal(one, before[name])}
    assert {name.split(".")[1] for name in after} == {"layer3", "layer4", "fc"}


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_efficientnet", "tf_efficientnet_lite0"])
def test_stages_are_timms_and_hold_every_weight_once(arch: str) -> None:
    net = timm.create_model(arch, num_classes=3)
    stages = stages_of(net, "x")
    assert sorted(name for stage in stages for name in stage) == sorted(name for name, _ in net.named_parameters())
    assert stages[0][0].startswith(("conv_stem", "cls_token", "conv1")) and len(stages) > 4
    head = {id(one) for one in net.get_classifier().parameters()}
    assert head <= {id(net.get_parameter(name)) for name in stages[-1]}


# ---- layers ----


@pytest.mark.parametrize("schedule", ["cosine", "constant", "onecycle", "plateau", "cosine_restarts"])
@pytest.mark.parametrize("task", ["classify", "embed"])
def test_every_layer_has_its_share_of_the_rate(schedule: str, task: str) -> None:
    more = {"cosine_restarts": {"cycle_epochs": 2}, "plateau": {"patience_epochs": 0}}.get(schedule, {})
    changes = {} if task == "classify" else {"task": task, "loss": {"name": "cosface", "lr": 0.3}, "metric": "map1"}
    config = config_of(changes, layer_decay=0.5, schedule=schedule, warmup_epochs=1, **more)
    data = toy_set() if task == "classify" else replace(toy_set(), task="embed")
    training = FoldTraining(config, data, 0)
    part = named_part(training.plain)
    layers = group_parameters(part, part.group_matcher(coarse=False), reverse=True)
    name_of = {id(one): name for name, one in part.named_parameters()}
    for update in range(9):
        groups = training.optimizer.param_groups
        rates = {layers[name_of[id(one)]]: group["lr"] for group in groups for one in group["params"]
                 if id(one) in name_of}
        top = max(rates)
        assert rates == pytest.approx({layer: rates[top] * 0.5 ** (top - layer) for layer in rates}, rel=1e-4)
        assert training.rate() == pytest.approx(rates[top], rel=1e-5) and len(rates) > 5
        training.step()
        assert update < 3 or task == "classify" or groups[-1]["lr"] > rates[top]  # vectors of identities: their own
    assert len({id(one) for group in training.optimizer.param_groups for one in group["params"]} & set(name_of)) == len(
        name_of)


def test_without_layer_decay_all_layers_have_one_rate() -> None:
    rates = {group["lr"] for group in FoldTraining(config_of(), toy_set(), 0).optimizer.param_groups}
    assert len(rates) == 1


# ---- the best weights again ----


class Wandering(Scripted):
    """Its weights are the number of the epoch, and it remembers where each epoch began."""

    began: list[float] = []

    def epoch(self, epoch: int) -> float:
        weight = self.plain.head.bias
        self.began.append(round(weight[0].item(), 4))
        with torch.no_grad():
            weight.fill_(epoch + 1.0)
            if self.ema is not None:
                self.ema.module.head.bias.fill_(epoch + 1.5)
        return super().epoch(epoch)

    def evaluate(self, epoch: int) -> FoldResult:
        net = self.plain if self.ema is None else self.ema.module
        weights = {name: one.clone() for name, one in net.state_dict().items()}
        return replace(super().evaluate(epoch), weights=weights)


@pytest.mark.parametrize(("changes", "began"), [
    ({"reload_best": True}, [0, 1, 2, 2, 2, 5]),  # at the end of epochs 2 and 3 the rate falls: back to the best, 1
    ({"reload_best": False}, [0, 1, 2, 3, 4, 5]),
    ({"reload_best": True, "ema": 0.9}, [0, 1, 2, 2.5, 2.5, 5]),  # the best is an average
])
def test_the_best_weights_are_taken_up_where_the_rate_falls(
        monkeypatch: pytest.MonkeyPatch, changes: dict, began: list[float]) -> None:
    changes = dict(changes)
    monkeypatch.setattr(Wandering, "scores", [0.1, 0.5, 0.4, 0.3, 0.9, 0.95])
    monkeypatch.setattr(Wandering, "began", [])
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Wandering)
    config = toy_config(epochs=6, ema=changes.pop("ema", 0.0), optim={
        "schedule": "plateau", "patience_epochs": 0, "warmup_epochs": 0, "lr": 1e-3, **changes})
    fit_fold(config, toy_set(), 0, quiet)
    assert Wandering.began[1:] == began[1:]


# ---- what is refused ----


@pytest.mark.parametrize(("changes", "message"), [
    ({"layer_decay": 0.5, "schedule": "none"}, "optim: schedule 'none' does not read layer_decay; use schedule: const"),
    ({"layer_decay": 0.5, "kwargs": {"layer_decay": 0.7}}, "optim: layer_decay stands in kwargs too; leave it out th"),
    ({"layer_decay": 1.0}, "optim.layer_decay: input should be less than 1"),
    ({"reload_best": True}, "optim: schedule 'cosine' does not read reload_best; it is read by plateau"),
    ({"cycle_mul": 2}, "optim: schedule 'cosine' does not read cycle_mul; it is read by cosine_restarts"),
    ({"schedule": "cosine_restarts"}, "optim: schedule 'cosine_restarts' needs cycle_epochs, the epochs of its first"),
])
def test_settings_that_do_not_fit_together(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_more_stages_than_there_are() -> None:
    config = tiny_config("tiny", net=RESNET, optim={"freeze": 6})
    with pytest.raises(ConfigError, match="run 'tiny': optim.freeze is 6, and network 'test_resnet' has 5 stages b"):
        check_names(config, find_adapter("digits"))


@pytest.mark.parametrize(("optim", "message"), [
    ({"freeze": 1}, "run 'toy': optim.freeze needs a network that knows its layers; give yours a method `group_m"),
    ({"layer_decay": 0.5}, "run 'toy': optim.layer_decay needs a network that knows its layers"),
    ({"head_scale": 0.1}, "run 'toy': optim.head_scale needs a network that knows its head; give yours a meth"),
    ({"head_epochs": 1}, "run 'toy': optim.head_epochs needs a network that knows its head; give yours a method `get_"),
])
def test_a_network_that_does_not_know_its_parts(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optim: dict, message: str) -> None:
    (tmp_path / "plain_net.py").write_text(
        "from torch import nn\n"
        "def network(pretrained, num_classes, **kwargs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(768, num_classes))\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        FoldTraining(toy_config(net={"arch": "plain_net.py", "size": 16}, optim=optim), toy_set(), 0)
    assert message in str(caught.value)



def test_a_head_begins_as_small_as_it_is_told_and_nothing_else_changes() -> None:
    made = []
    for scale in (1.0, 0.25):
        torch.manual_seed(0)
        made.append(copied(FoldTraining(config_of(head_scale=scale), toy_set(), 0)))
    usual, small = made
    assert all(torch.equal(one, usual[name] * (0.25 if name.startswith("fc.") else 1)) for name, one in small.items())
    training = FoldTraining(config_of(head_scale=0.0), toy_set(), 0)
    outputs = training.plain(torch.randn(4, 3, 16, 16))
    assert torch.equal(outputs, torch.zeros_like(outputs))


@pytest.mark.parametrize(("changes", "message"), [
    ({"task": "embed", "loss": {"name": "cosface"}, "metric": "map1"}, "the vectors of task 'embed' are brought to"),
    ({"net": {**RESNET, "cosine": 20.0}}, "net.cosine brings its class vectors to length 1"),
    ({"net": {**RESNET, "pretrained": {"file": "a.pth", "head": "keep"}}}, "net.pretrained.head 'keep' takes it f")])
def test_a_size_of_the_head_that_would_mean_nothing(changes: dict, message: str) -> None:
    data = {**config_of().model_dump(mode="json"), **changes}
    data["optim"]["head_scale"] = 0.5
    with pytest.raises(ConfigError, match=f"optim.head_scale makes a new last layer smaller, and {message}"):
        parse_config(data, "toy.yml")


def test_left_out_a_head_is_small_where_the_rest_starts_from_weights() -> None:
    kept = {**STARTED, "pretrained": {"file": "a.pth", "head": "keep"}}
    scales = [config_of().head_scale, config_of({"net": STARTED}).head_scale, config_of({"net": kept}).head_scale,
              config_of({"net": STARTED}, head_scale=1.0).head_scale]
    assert scales == [1.0, 0.05, 1.0, 1.0]
