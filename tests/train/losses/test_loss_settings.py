"""Which losses there are, what each reads, and what is refused before the first epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foldpack.settings.run import ConfigError, RunConfig, parse_config
from foldpack.settings.training.loss import LOSSES, LOSSES_OF_TASK, LOSSES_READING, LossConfig
from foldpack.train.losses.registry import build_loss, require_loss

SOME = {"smoothing": 0.2, "pos_weight": 3.0, "gamma_neg": 1.0, "gamma_pos": 3.0, "gamma": 4.0, "alpha": 0.1,
        "beta": 1.0, "forgiveness": 4.0, "delta": 0.2, "quantile": 0.9, "margin": 0.33, "scale": 7.0, "centers": 5,
        "miner": "hard", "memory": 24}


def config_of(**changes: object) -> RunConfig:
    return parse_config({"run": "a", "competition": "digits", "net": {"arch": "resnet18", "size": 32},
                         "loss": {"name": "cross_entropy"}, "metric": "accuracy", **changes}, "x")


def value_of(name: str, settings: dict) -> float:
    """What the loss of a made-up batch is, after another one."""
    task = next(task for task, names in LOSSES_OF_TASK.items() if name in names and not (
        "alpha" in settings and task == "multiclass"))
    chance = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(32, 6, generator=chance), torch.rand(32, 6, generator=chance).softmax(dim=1)
    if task == "embed":
        outputs = torch.nn.functional.normalize(outputs)
        targets = torch.randint(5, (32,), generator=chance)
    torch.manual_seed(0)
    loss = build_loss(LossConfig(name=name, **settings), task, 5, 6)
    loss(outputs[:16], targets[:16])
    return loss(outputs[16:], targets[16:]).item()


@pytest.mark.parametrize(("name", "setting"), [
    (loss, setting) for setting, losses in LOSSES_READING.items() for loss in losses if setting != "lr"])
def test_every_setting_changes_what_every_loss_that_reads_it_says(name: str, setting: str) -> None:
    assert value_of(name, {}) != pytest.approx(value_of(name, {setting: SOME[setting]}), rel=1e-5)


@pytest.mark.parametrize("task", LOSSES_OF_TASK)
def test_every_loss_of_a_task_is_built_and_no_other(task: str) -> None:
    for name in LOSSES:
        if name in LOSSES_OF_TASK[task]:
            assert isinstance(build_loss(LossConfig(name=name), task, 5, 8), torch.nn.Module)
        else:
            with pytest.raises(ConfigError, match=f"loss '{name}' does not fit a {task} competition; allowed: "):
                require_loss(LossConfig(name=name), task)


def test_a_sum_of_vector_losses_learns_the_vectors_of_each() -> None:
    config = LossConfig(name="sum", parts={"cosine_softmax": 1.0, "triplet": 0.5, "adacos": 1.0})
    loss = build_loss(config, "embed", 5, 8)
    assert sum(one.numel() for one in loss.parameters()) == 2 * 5 * 8


@pytest.mark.parametrize(("loss", "message"), [
    ({"name": "sum"}, "loss: loss 'sum' needs parts, such as {bce: 1.0, focal: 0.3}"),
    ({"name": "bce", "parts": {"focal": 0.3}}, "loss: loss 'bce' does not read parts; it is read by sum"),
    ({"name": "sum", "parts": {"bce": 1.0, "fokal": 0.3}}, "loss: unknown loss 'fokal': did you mean 'focal'?"),
    ({"name": "sum", "parts": {"bce": 1.0, "sum": 0.3}}, "loss: unknown loss 'sum': "),
    ({"name": "sun"}, "loss: unknown loss 'sun': did you mean 'sum'?"),
    ({"name": "sum", "parts": {"bce": 0.0}}, "loss.parts.bce: input should be greater than 0, got 0.0"),
    ({"name": "sum", "parts": {"bce": 1.0, "focal": 0.3}, "beta": 1.0},
     "loss: loss 'sum' does not read beta; it is read by soft_f"),
    ({"name": "sum", "parts": {"bce": 1.0}, "kwargs": {"a": 1}}, "loss 'sum' does not read kwargs; they are for"),
    ({"name": "sum", "parts": {"arcface": 1.0, "triplet": 1.0}, "margin": 0.2},
     "loss 'sum': margin is of other units for arcface than for triplet; leave it out"),
    ({"name": "focal", "gamma": 0.5}, "loss.gamma: input should be greater than or equal to 1, got 0.5"),
])
def test_what_does_not_fit_together_is_one_line(loss: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(loss=loss)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_memory_holds_a_batch_and_is_of_triplets() -> None:
    asked: dict = {"task": "embed", "metric": "map5", "batch_size": 64}
    assert config_of(**asked, loss={"name": "triplet", "memory": 64}).loss.memory == 64
    with pytest.raises(ConfigError, match="loss.memory is 63, less than a batch of 64; set it to as many at least"):
        config_of(**asked, loss={"name": "triplet", "memory": 63})
    with pytest.raises(ConfigError, match="loss 'arcface' does not read memory; it is read by triplet"):
        config_of(**asked, loss={"name": "arcface", "memory": 64})


@pytest.mark.parametrize(("loss", "bins", "message"), [
    ({"name": "ordinal"}, None, "loss 'ordinal' does not fit a run of values without net.bins; cross_entropy, ordin"),
    ({"name": "pinball"}, 5, "loss 'pinball' does not fit a run of values with net.bins; cross_entropy, ordinal, qw"),
    ({"name": "sum", "parts": {"ordinal": 1.0, "mse": 1.0}}, 5, "loss 'mse' does not fit a run of values with net.bin"),
])
def test_losses_of_bins_go_with_bins(loss: dict, bins: int | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(task="regress", loss=loss, metric="rmse", net={"arch": "resnet18", "size": 32, "bins": bins})
    assert message in str(caught.value)


def test_alpha_is_for_labels_and_no_pair_of_items_has_a_weight() -> None:
    with pytest.raises(ConfigError, match="loss 'focal' of one class an item does not read alpha; leave `loss.alpha`"):
        require_loss(LossConfig(name="focal", alpha=0.3), "multiclass")
    for name in ("triplet", "proxy_anchor"):
        require_loss(LossConfig(name=name), "embed")
        with pytest.raises(ConfigError, match=f"loss '{name}' compares the items of a batch with each other, so weigh"):
            require_loss(LossConfig(name=name), "embed", weighted=True)


def test_a_loss_of_the_project_is_a_part_too_and_takes_weights_if_it_is_to(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_losses.py").write_text(
        "def two(outputs, targets): return outputs.sum() * 0 + 2\n"
        "def heavy(outputs, targets, weights=None, times=1.0): return times * weights.sum()\n")
    monkeypatch.chdir(tmp_path)
    outputs = torch.zeros(2, 3)
    both = build_loss(LossConfig(name="sum", parts={"bce": 1.0, "my_losses.py:two": 0.5}), "multilabel")
    assert both(outputs, outputs) == pytest.approx(0.693147 + 1)
    own = LossConfig(name="my_losses.py:heavy", kwargs={"times": 3.0})
    assert build_loss(own, "multilabel", weighted=True)(outputs, outputs, torch.tensor([1.0, 4.0])) == 15
    with pytest.raises(ConfigError, match=r"my_losses.py:two with \{\} cannot be made: .* or take \(outputs, targ"):
        require_loss(LossConfig(name="my_losses.py:two"), "multilabel", weighted=True)
