"""What is not finite is left out as if it had never been; after too much of it a fold goes back, once."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from mortal_states import BATCH_NORM, Killed, MortalStates, alike, info_of
from toy_training import quiet, toy_config, toy_set

from foldpack.predict.loop import DivergedError
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import Group
from foldpack.train.fit import fit_fold
from foldpack.train.loop.guard import NotFiniteLoss, UpdateGuard
from foldpack.train.loop.states import FoldStates
from foldpack.train.loop.training import MOST_OVERFLOWS, FoldTraining, TrainingError

NAN = float("nan")


def everything(training: FoldTraining) -> dict[str, Any]:
    """Weights, statistics and moments of a training."""
    return copy.deepcopy({name: training.holders[name].state_dict() for name in ("net", "loss", "optimizer", "ema")})


def flat(state: Any) -> list[torch.Tensor]:
    if isinstance(state, dict):
        return [tensor for value in state.values() for tensor in flat(value)]
    return [state] if isinstance(state, torch.Tensor) else []


def batches_of(training: FoldTraining) -> list[list[Group]]:
    training.begin(0)
    return list(training.loader)


@pytest.mark.parametrize("where", ["pixels", "loss", "gradient"])
def test_a_batch_that_is_not_finite_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    training = FoldTraining(toy_config(net=BATCH_NORM, ema=0.5, optim={"lr": 1e-2, "warmup_epochs": 1}), toy_set(), 0)
    first, second, *_ = batches_of(training)
    training.learn(first, 0, 0)
    before, rate = everything(training), training.rate()
    with monkeypatch.context() as patch:
        if where == "pixels":
            real_input = training.net_input
            patch.setattr(training, "net_input", lambda *given: real_input(*given) * NAN)
        elif where == "loss":
            real = training.task.losses
            patch.setattr(training.task, "losses", lambda *given: real(*given) * float("inf"))
        else:  # the root has an infinite slope where the loss is 0
            real = training.task.losses
            patch.setattr(training.task, "losses", lambda *given: (real(*given) * 0).sqrt())
        training.learn(second, 0, 1)
    after = everything(training)
    assert all(torch.equal(one, other) for one, other in zip(flat(before), flat(after), strict=True))
    assert (training.progress.updates, training.progress.left_out, training.progress.in_a_row) == (2, 1, 1)
    assert training.rate() > rate  # the schedule goes on
    training.learn(second, 0, 1)
    assert training.progress.in_a_row == 0 and training.progress.updates == 3
    assert not all(torch.equal(one, other) for one, other in zip(flat(after), flat(everything(training)), strict=True))


def test_one_bad_batch_spoils_the_update_that_it_is_gathered_into() -> None:
    training = FoldTraining(toy_config(accumulate=2, batch_size=6), toy_set(), 0)
    before, real, calls = everything_of(training), training.task.losses, []

    def losses(*given: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(*given) * (NAN if len(calls) == 1 else 1)

    training.task.losses = losses  # type: ignore[method-assign]
    first, second, third, fourth = batches_of(training)
    training.learn(first, 0, 0)
    training.learn(second, 0, 1)
    assert alike([before], [everything_of(training)]) and training.progress.left_out == 1
    training.learn(third, 0, 2)
    training.learn(fourth, 0, 3)
    assert not alike([before], [everything_of(training)]) and training.progress.left_out == 1


def everything_of(training: FoldTraining) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.plain.state_dict().items()}


class Breaking(FoldTraining):
    """The loss is NaN from a certain batch on, unless the rate is low enough."""

    broken: list[tuple[int, int]] = []  # (epoch, batch)
    cured_at = 0.5

    def learn(self, groups: list[Group], epoch: int, batch: int) -> tuple[float, int]:
        real = self.task.losses
        if (epoch, batch) in self.broken and self.progress.slower > self.cured_at:
            self.task.losses = lambda *given: real(*given) * NAN  # type: ignore[method-assign]
        try:
            return super().learn(groups, epoch, batch)
        finally:
            self.task.losses = real  # type: ignore[method-assign]


def fit_breaking(monkeypatch, config: RunConfig, broken: list[tuple[int, int]], folder: Path | None = None,
                 writes: int = 0) -> tuple[list[dict[str, torch.Tensor]], list[dict[str, object]]]:
    """Train while the loss breaks. folder: of its states; writes: dies after so many. -> weights by epoch, log."""
    monkeypatch.setattr(Breaking, "broken", broken)
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Breaking)
    entries: list[dict[str, object]] = []
    epochs: dict[int, dict[str, torch.Tensor]] = {}
    while True:
        states = None if folder is None else MortalStates(folder, info_of(fold=0), quiet)
        if isinstance(states, MortalStates):
            states.left = writes
        try:
            fit_fold(config, toy_set(), 0, entries.append, lambda found: epochs.update({found.epoch: found.weights}),
                     states=states)
            return [epochs[epoch] for epoch in sorted(epochs)], entries
        except Killed:
            continue


def told(entries: list[dict[str, object]]) -> list[str]:
    return [str(entry["warning"]) for entry in entries if "warning" in entry]


def test_updates_that_are_left_out_are_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, entries = fit_breaking(monkeypatch, toy_config(epochs=3), [(1, 0), (1, 1), (2, 2)])
    assert told(entries) == [
        "epoch 1, batch 0: the loss is nan; this update is left out, 1 in a row",
        "epoch 1, batch 1: the loss is nan; this update is left out, 2 in a row",
        "epoch 2, batch 2: the loss is nan; this update is left out, 1 in a row"]
    assert [entry.get("skipped") for entry in entries if "epoch" in entry] == [None, 2, 1]


BROKEN = [(2, 1), (2, 2), (3, 0)]


@pytest.mark.parametrize("skip", [2, 3])
def test_too_many_in_a_row_go_back_to_the_saved_state_with_a_lower_rate(monkeypatch, tmp_path, skip: int) -> None:
    optim = {"lr": 3e-3, "schedule": "constant", "warmup_epochs": 0}
    config = toy_config(epochs=5, optim=optim, nonfinite={"skip": skip, "rate": 0.5})
    _, entries = fit_breaking(monkeypatch, config, BROKEN, tmp_path / "state", 1000)
    lines = [entry for entry in entries if "epoch" in entry]
    if skip == 3:
        assert len(told(entries)) == 3 and [line["lr"] for line in lines] == [3e-3] * 5
        return
    assert told(entries)[-1] == ("the loss is nan in epoch 3, once too often; the fold goes back to its last saved "
                                 "state, or to its start, and on with 0.5 of its learning rate")
    # The bad updates began in epoch 2: what they led to is not saved.
    assert [line["epoch"] for line in lines] == [0, 1, 2, 2, 3, 4]
    assert [line["lr"] for line in lines] == [3e-3, 3e-3, 3e-3, 1.5e-3, 1.5e-3, 1.5e-3]
    assert [entry["resumed"] for entry in entries if "resumed" in entry] == [2]


def test_within_an_epoch_nothing_is_saved_between_bad_updates(monkeypatch, tmp_path: Path) -> None:
    config = toy_config(epochs=4, nonfinite={"skip": 1}, save_minutes=1e-9)
    _, entries = fit_breaking(monkeypatch, config, [(2, 1), (2, 2)], tmp_path / "state", 1000)
    assert [(entry["resumed"], entry["batches"]) for entry in entries if "resumed" in entry] == [(2, 1)]


def test_the_lower_rate_is_the_one_that_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = []
    for rate in (0.5, 0.25):
        config = toy_config(epochs=4, nonfinite={"skip": 0, "rate": rate})
        weights.append(fit_breaking(monkeypatch, config, [(1, 1)], tmp_path / str(rate), 1000)[0])
    assert alike(weights[0][:1], weights[1][:1]) and not alike(weights[0][1:2], weights[1][1:2])


def test_a_fold_without_a_saved_state_goes_back_to_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(epochs=3, nonfinite={"skip": 0})
    _, entries = fit_breaking(monkeypatch, config, [(0, 1)])
    assert [entry["epoch"] for entry in entries if "epoch" in entry] == [0, 1, 2] and len(told(entries)) == 1


def test_a_fold_that_went_back_and_was_killed_gives_the_same_fold(monkeypatch, tmp_path) -> None:
    config = toy_config(epochs=5, nonfinite={"skip": 1}, save_minutes=1e-9)
    whole, _ = fit_breaking(monkeypatch, config, BROKEN, tmp_path / "whole", 1000)
    again, _ = fit_breaking(monkeypatch, config, BROKEN, tmp_path / "again", 4)
    assert alike(whole, again)


def test_the_second_time_is_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Breaking, "cured_at", 0.0)
    with pytest.raises(TrainingError, match="^run 'toy': the loss is nan in epoch 3, with 0.5 of its learning rate; "
                                            "lower optim.lr, set optim.clip_norm, or use precision: no$"):
        fit_breaking(monkeypatch, toy_config(epochs=5, nonfinite={"skip": 2}), BROKEN, tmp_path / "state", 1000)
    assert FoldStates(tmp_path / "state", info_of(fold=0), quiet).read() is not None  # for another try


def test_an_epoch_without_a_finite_loss_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    training = FoldTraining(toy_config(nonfinite={"skip": 50}), toy_set(), 0)
    monkeypatch.setattr(training.task, "losses", lambda outputs, targets: outputs.sum() * NAN)
    with pytest.raises(NotFiniteLoss, match="loss is finite in no batch"):
        training.epoch(0)


@pytest.mark.parametrize(("scaler", "loss", "gradient", "fault"), [
    (None, 1.0, 1.0, None), (None, NAN, 1.0, "loss is nan"), (None, 1.0, float("inf"), "gradient is inf"),
    ("scaler", 1.0, float("inf"), None), ("scaler", NAN, float("inf"), "loss is nan")])
def test_what_a_scaler_leaves_out_is_its_own_business(scaler, loss: float, gradient: float, fault: str | None) -> None:
    """Scaled gradients overflow now and then; a loss, which is not scaled, does not."""
    part = torch.nn.BatchNorm1d(2)
    part.weight.grad = torch.tensor([gradient, 0.0])
    guard = UpdateGuard(SimpleNamespace(scaler=scaler, num_processes=1), [part])  # type: ignore[arg-type]
    guard.begin()
    part(torch.randn(4, 2))
    guard.note(loss)
    assert guard.fault(torch.optim.SGD(part.parameters(), lr=1)) == fault
    assert part.num_batches_tracked == (1 if fault is None else 0)
    assert (part.running_mean == 0).all() == (fault is not None)


def with_scaler(**changes: Any) -> FoldTraining:
    """A training whose gradients are scaled as with fp16, which the CPU does not have."""
    training = FoldTraining(toy_config(**changes), toy_set(), 0)
    training.accelerator.scaler = torch.amp.GradScaler("cpu")
    training.optimizer = AcceleratedOptimizer(training.optimizer.optimizer, scaler=training.accelerator.scaler)
    return training


def test_with_a_scaler_a_loss_that_is_not_finite_makes_no_update_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a logit of infinity whose label is not there: its gradient is 1."""
    training = with_scaler()
    before, real = everything_of(training), training.task.losses
    first, second, *_ = batches_of(training)
    monkeypatch.setattr(training.task, "losses", lambda *given: real(*given) + float("inf"))
    training.learn(first, 0, 0)
    assert training.progress.left_out == 1 and alike([before], [everything_of(training)])
    monkeypatch.setattr(training.task, "losses", real)
    training.learn(second, 0, 1)
    assert training.progress.in_a_row == 0 and not alike([before], [everything_of(training)])


def test_gradients_that_never_fit_into_fp16_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    training = with_scaler()
    at, batch, real = training.progress, batches_of(training)[0], training.task.losses
    rooted = lambda *given: (real(*given) * 0).sqrt()  # noqa: E731
    monkeypatch.setattr(training.task, "losses", rooted)
    training.learn(batch, 0, 0)
    assert at.overflows == 1 and at.in_streak and at.left_out == 0
    monkeypatch.setattr(training.task, "losses", real)
    training.learn(batch, 0, 0)
    assert at.overflows == 0 and not at.in_streak
    monkeypatch.setattr(training.task, "losses", rooted)
    for _ in range(MOST_OVERFLOWS - 1):
        training.learn(batch, 0, 0)
    with pytest.raises(NotFiniteLoss, match="gradient has no room in fp16, 20 updates in a row,"):
        training.learn(batch, 0, 0)


class Buffered(torch.nn.Module):
    """A loss with a buffer, and no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(3))


def test_the_buffers_of_a_loss_go_to_the_device() -> None:
    training = SimpleNamespace(task=SimpleNamespace(loss=Buffered()),
                               accelerator=SimpleNamespace(device=torch.device("meta")))
    loss = FoldTraining.prepared_loss(training)  # type: ignore[arg-type]
    assert next(loss.buffers()).device.type == "meta"


def test_a_gallery_that_is_not_finite_is_a_fault_too(monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(competition="digits-retrieval", task="embed", embed={"dim": 4}, loss={"name": "arcface"})
    training = FoldTraining(config, toy_set("embed"), 0)

    def gallery(*given: object) -> None:
        raise DivergedError("not finite")

    monkeypatch.setattr(training.task, "gallery", gallery)
    with pytest.raises(NotFiniteLoss, match="network's answer is not finite"):
        training.evaluate(0)
