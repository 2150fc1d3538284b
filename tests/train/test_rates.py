"""Learning rates: every schedule changes the rate as timm or PyTorch says, and one that does nothing is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.plateau_lr import PlateauLRScheduler
from toy_training import Scripted, quiet, toy_config, toy_set

from foldpack.settings.run import ConfigError, RunConfig, parse_config
from foldpack.train.fit import fit_fold
from foldpack.train.loop.training import FoldTraining
from foldpack.train.rates import build_scheduler, check_schedule, simulated_rates

LR = 3e-3


class Stepping(Scripted):
    """Does not learn, but takes its updates."""

    def epoch(self, epoch: int) -> float:
        for _ in range(self.updates_per_epoch):
            self.step()
        return super().epoch(epoch)


def with_optim(epochs: int, changes: dict | None = None, **optim: object) -> RunConfig:
    """A toy run with this optimiser; no warm-up unless it is asked for."""
    return toy_config(epochs=epochs, optim={"lr": LR, "warmup_epochs": 0, **optim}, **(changes or {}))


def logged_rates(config: RunConfig) -> list[float]:
    """The learning rate in the log of a real training."""
    entries: list[dict] = []
    fit_fold(config, toy_set(), 0, entries.append)
    return [entry["lr"] for entry in entries]


def scripted_rates(monkeypatch, config: RunConfig, scores: list[float]) -> list[float]:
    """The learning rate in the log when the evaluations score so."""
    monkeypatch.setattr(Stepping, "scores", scores)
    monkeypatch.setattr("foldpack.train.fit.FoldTraining", Stepping)
    return logged_rates(config)


@pytest.mark.parametrize(
    ("optim", "falls"),
    [
        ({"schedule": "step", "decay_epochs": 2}, [0, 0, 1, 1, 2, 2, 3]),
        ({"schedule": "step", "decay_epochs": 3, "decay_rate": 0.5}, [0, 0, 0, 1, 1, 1, 2]),
        ({"schedule": "step", "decay_epochs": 2.5, "decay_rate": 0.5}, [0, 0, 0, 1, 1, 2, 2]),
        ({"schedule": "multistep", "decay_milestones": [2, 5]}, [0, 0, 1, 1, 1, 2, 2]),
        ({"schedule": "multistep", "decay_milestones": [6, 90], "decay_rate": 0.3}, [0, 0, 0, 0, 0, 0, 1]),
        ({"schedule": "constant"}, [0] * 7),
        ({"schedule": "none"}, [0] * 7),
    ],
)
def test_the_logged_rate_falls_at_its_epochs(optim: dict, falls: list[int]) -> None:
    factor = optim.get("decay_rate", 0.1)
    assert logged_rates(with_optim(7, **optim)) == pytest.approx([LR * factor**count for count in falls], rel=1e-5)


def test_a_warm_up_comes_before_the_falls() -> None:
    rates = logged_rates(with_optim(5, schedule="step", decay_epochs=3, warmup_epochs=2))
    assert rates == pytest.approx([LR / 100, LR * 0.505, LR, LR / 10, LR / 10], rel=1e-5)
    assert logged_rates(with_optim(3, schedule="constant", warmup_epochs=1)) == pytest.approx([LR / 100, LR, LR])


@pytest.mark.parametrize(
    ("optim", "peer"),
    [
        ({"schedule": "cosine"}, {}),
        ({"schedule": "tanh"}, {}),
        ({"schedule": "poly"}, {}),
        ({"schedule": "poly", "decay_rate": 1.0}, {"decay_rate": 1.0}),
        ({"schedule": "wsd"}, {}),
        ({"schedule": "wsd", "decay_epochs": 4}, {"decay_epochs": 4}),
        ({"schedule": "rsqrt", "decay_epochs": 0.5}, {"decay_epochs": 0.5}),
        ({"schedule": "step", "decay_epochs": 3}, {"decay_epochs": 3}),
        ({"schedule": "multistep", "decay_milestones": [3, 5]}, {"decay_milestones": [3, 5]}),
    ],
)
def test_every_update_has_the_rate_that_timm_gives_it(optim: dict, peer: dict) -> None:
    config = with_optim(8, warmup_epochs=1, **optim)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    timms = create_scheduler_v2(optimizer, sched=optim["schedule"], num_epochs=8, warmup_epochs=1, warmup_lr=LR / 100,
                                min_lr=1e-6, step_on_epochs=False, updates_per_epoch=100, **peer)[0]
    expected = []
    for update in range(800):
        expected.append(optimizer.param_groups[0]["lr"])
        timms.step_update(update + 1)
    assert simulated_rates(config) == pytest.approx(expected[100:-1]) and np.ptp(expected[100:-1]) > 0


@pytest.mark.parametrize(("cycles", "mul"), [(2, 1), (3, 1), (1, 2), (2, 2), (1, 3)])
def test_restarts_are_those_of_torch(cycles: int, mul: int) -> None:
    config = with_optim(13, schedule="cosine_restarts", cycle_epochs=cycles, cycle_mul=mul)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, cycles * 100, mul, eta_min=1e-6)
    expected = []
    for _ in range(1300):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()
    assert simulated_rates(config) == pytest.approx(expected[:-1])
    assert expected.count(LR) > 1


def test_restarts_may_be_lower_each_and_come_after_a_warm_up() -> None:
    rates = logged_rates(with_optim(7, schedule="cosine_restarts", cycle_epochs=2, cycle_decay=0.5, min_lr=0.0))
    half = [1.0, 0.5]
    assert rates == pytest.approx([LR * 0.5**k * share for k in range(3) for share in half] + [LR / 8], rel=1e-5)
    warm = logged_rates(with_optim(6, schedule="cosine_restarts", cycle_epochs=3, warmup_epochs=1, min_lr=0.0))
    assert warm == pytest.approx([LR / 100, LR * 0.75, LR * 0.25, LR, LR * 0.75, LR * 0.25], rel=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize(("warmup", "lowest"), [(1, 1e-6), (3, 1e-5), (3, 0.0)])
def test_one_cycle_is_torchs_in_rate_and_momentum(name: str, warmup: int, lowest: float) -> None:
    config = with_optim(10, name=name, schedule="onecycle", warmup_epochs=warmup, min_lr=lowest)
    training = FoldTraining(config, toy_set(), 0)
    peer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)]) if name == "adamw" else (
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], momentum=0.9))
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        peer, LR, epochs=10, steps_per_epoch=3, pct_start=warmup / 10,
        final_div_factor=LR / 25 / lowest if lowest else float("inf"))
    for update in range(30):
        group, theirs = training.optimizer.param_groups[0], peer.param_groups[0]
        assert group["lr"] == pytest.approx(theirs["lr"], rel=1e-6, abs=1e-12)
        momentum = [one["betas"][0] if name == "adamw" else one["momentum"] for one in (group, theirs)]
        assert momentum[0] == pytest.approx(momentum[1])
        training.step()
        if update < 29:
            peer.step()
            torchs.step()
    assert group["lr"] == pytest.approx(lowest, abs=1e-12)


@pytest.mark.parametrize(("epochs", "updates"), [(2, 1), (4, 1), (26, 1), (2, 2), (3, 1)])
def test_one_cycle_rises_within_few_updates_too(epochs: int, updates: int) -> None:
    """As where a network is tried before the training, or an epoch has one batch."""
    config = with_optim(epochs, schedule="onecycle", warmup_epochs=1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    schedule = build_scheduler(config, optimizer, updates)
    assert schedule is not None
    rates = [optimizer.param_groups[0]["lr"]]
    for update in range(1, epochs * updates):
        optimizer.step()
        schedule.step_update(update)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(LR / 25) and max(rates) == pytest.approx(LR) == rates[1]
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_one_cycle_is_a_function_of_the_place_alone() -> None:
    config = with_optim(10, schedule="onecycle", warmup_epochs=2)
    optimizers = [torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9) for _ in range(2)]
    stepped, jumped = (build_scheduler(config, optimizer, 10) for optimizer in optimizers)
    for optimizer in optimizers:
        optimizer.step()
    for update in range(1, 57):
        stepped.step_update(update)
    jumped.step_update(56)
    assert optimizers[0].param_groups[0]["lr"] == optimizers[1].param_groups[0]["lr"] < LR
    assert optimizers[0].param_groups[0]["momentum"] == optimizers[1].param_groups[0]["momentum"]


@pytest.mark.parametrize(
    ("scores", "changes", "falls"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], {}, [0, 0, 0, 0, 0, 0]),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4], {}, [0, 0, 0, 1, 1, 2]),  # after more than one epoch without a gain
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], {}, [0, 0, 0, 0, 0, 1]),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], {"metric": "log_loss"}, [0, 0, 0, 1, 1, 2]),  # a loss has to fall
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], {"metric": "log_loss"}, [0, 0, 0, 0, 0, 0]),
        ([9.0, 0.5, 9.0, 0.4, 9.0, 0.4], {"evaluate_every": 2}, [0, 0, 0, 0, 1, 1]),  # epochs 1, 3, 5 are evaluated
        ([0.9, 0.5, 0.4, 0.4, 0.4, 0.4], {"warmup_epochs": 1}, [None, 0, 0, 0, 1, 1]),  # the warm-up does not count
        ([0.5, float("nan"), float("nan"), 0.6, 0.4, 0.4], {}, [0, 0, 0, 1, 1, 1]),
    ],
)
def test_a_plateau_lowers_the_rate_in_the_direction_of_the_metric(monkeypatch, scores, changes, falls) -> None:
    warmup = changes.pop("warmup_epochs", 0)
    config = with_optim(6, changes, schedule="plateau", patience_epochs=1, decay_rate=0.2, warmup_epochs=warmup)
    check_schedule(config)
    rates = scripted_rates(monkeypatch, config, scores)
    assert rates == pytest.approx([LR / 100 if count is None else LR * 0.2**count for count in falls], rel=1e-5)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_a_plateau_falls_when_timms_own_falls(monkeypatch, metric: str, warmup: int) -> None:
    scores = np.random.default_rng(0).random(60).tolist()
    config = with_optim(60, {"metric": metric}, schedule="plateau", patience_epochs=4, decay_rate=0.5,
                        warmup_epochs=warmup)
    rates = scripted_rates(monkeypatch, config, scores)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        timms = PlateauLRScheduler(optimizer, 0.5, 4, warmup_t=warmup, warmup_lr_init=LR / 100, lr_min=1e-6,
                                   mode="max" if metric == "accuracy" else "min")
    expected = []
    for epoch, score in enumerate(scores):
        expected.append(optimizer.param_groups[0]["lr"])
        timms.step(epoch + 1, score)
    assert rates[warmup:] == pytest.approx(expected[warmup:], rel=1e-5) and rates[-1] < LR / 100


def test_a_plateau_does_not_fall_below_the_lowest_rate(monkeypatch) -> None:
    config = with_optim(9, schedule="plateau", patience_epochs=0, min_lr=LR / 50)
    assert scripted_rates(monkeypatch, config, [0.5] * 9)[-1] == pytest.approx(LR / 50)


@pytest.mark.parametrize(
    ("epochs", "changes", "optim", "message"),
    [
        (20, {}, {"schedule": "step"},
         "run 'toy': schedule 'step' never changes the learning rate in 20 epochs, 0 of them warm-up; set "
         "optim.decay_epochs (90 now) to fewer epochs, or use schedule: constant"),
        (90, {}, {"schedule": "step"}, "schedule 'step' never changes the learning rate in 90 epochs"),
        (20, {}, {"schedule": "step", "decay_epochs": 20}, "set optim.decay_epochs (20 now) to fewer epochs"),
        (1, {}, {"schedule": "step", "warmup_epochs": 1, "decay_epochs": 1}, "1 epochs, 1 of them warm-up"),
        (20, {}, {"schedule": "multistep"},
         "set optim.decay_milestones ([90, 180, 270] now) to epochs after the warm-up and below 20, or use schedule:"),
        (20, {}, {"schedule": "multistep", "decay_milestones": [20]}, "set optim.decay_milestones ([20] now)"),
        (20, {}, {"schedule": "multistep", "decay_milestones": [2], "warmup_epochs": 3}, "20 epochs, 3 of them warm-"),
        (12, {}, {"schedule": "plateau"}, "set optim.patience_epochs (10 now) lower, or use schedule: constant"),
        (20, {"patience": 3}, {"schedule": "plateau", "patience_epochs": 3},
         "set optim.patience_epochs (3 now) lower, below the patience of 3 that ends a fold, or use schedule:"),
        (20, {"evaluate_every": 30}, {"schedule": "plateau", "patience_epochs": 0}, "optim.patience_epochs (0 now)"),
        (20, {}, {"schedule": "cosine", "min_lr": LR},
         "run 'toy': schedule 'cosine' would not lower the learning rate: optim.min_lr is 0.003, optim.lr 0.003; set "
         "min_lr lower, or use schedule: constant"),
        (20, {}, {"schedule": "onecycle"}, "run 'toy': schedule 'onecycle' rises in the first optim.warmup_epochs (0"),
        (4, {}, {"schedule": "onecycle", "warmup_epochs": 4}, "set it to 1 or more, and below epochs"),
        (5, {}, {"schedule": "cosine_restarts", "cycle_epochs": 5},
         "'cosine_restarts' never restarts in 5 epochs; set optim.cycle_epochs (5 now) lower, or use schedule: cosine"),
        (20, {}, {"schedule": "plateau", "min_lr": 1.0}, "schedule 'plateau' would not lower the learning rate: opt"),
    ],
)
def test_a_schedule_that_does_nothing_is_refused(epochs, changes, optim, message) -> None:
    with pytest.raises(ConfigError) as caught:
        check_schedule(with_optim(epochs, changes, **optim))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("epochs", "changes", "optim"),
    [
        (91, {}, {"schedule": "step"}),
        (20, {}, {"schedule": "step", "decay_epochs": 19}),
        (20, {}, {"schedule": "multistep", "decay_milestones": [19]}),
        (20, {}, {"schedule": "multistep", "decay_milestones": [19, 90]}),
        (13, {}, {"schedule": "plateau"}),  # the first epoch is the best, 11 bring nothing, and it falls for the 13th
        (20, {"patience": 4}, {"schedule": "plateau", "patience_epochs": 2}),
        (1, {}, {"schedule": "cosine"}),
        (1, {}, {"schedule": "cosine", "warmup_epochs": 1}),
        (50_000, {}, {"schedule": "cosine", "warmup_epochs": 1}),
        (20, {}, {"schedule": "constant"}),
        (20, {}, {"schedule": "none"}),
        (20, {}, {"schedule": "constant", "min_lr": 1.0}),
    ],
)
def test_a_schedule_that_does_something_or_is_asked_to_do_nothing_is_taken(epochs, changes, optim) -> None:
    check_schedule(with_optim(epochs, changes, **optim))


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({"decay_epochs": 3}, "x: optim: schedule 'cosine' does not read decay_epochs; it is read by rsqrt, step, wsd"),
        ({"schedule": "step", "patience_epochs": 3}, "schedule 'step' does not read patience_epochs; it is read by"),
        ({"schedule": "constant", "decay_rate": 0.5},
         "'constant' does not read decay_rate; it is read by multistep, plateau, poly, step"),
        ({"schedule": "plateau", "decay_milestones": [3]}, "'plateau' does not read decay_milestones"),
        ({"schedule": "multistep", "decay_milestones": [5, 3]}, "decay_milestones [5, 3] must be epochs from 1 on"),
        ({"schedule": "multistep", "decay_milestones": [3, 3]}, "decay_milestones [3, 3] must be epochs from 1 on"),
        ({"schedule": "multistep", "decay_milestones": [0, 3]}, "decay_milestones [0, 3] must be epochs from 1 on"),
        ({"schedule": "step", "decay_rate": 1.0}, "decay_rate 1.0 does not lower the learning rate; it must be"),
        ({"schedule": "plateau", "decay_rate": 5.0}, "decay_rate 5.0 does not lower the learning rate"),
    ],
)
def test_settings_that_a_schedule_does_not_read_or_take_are_refused(optim: dict, message: str) -> None:
    data = toy_config().model_dump(mode="json", exclude={"optim"})
    with pytest.raises(ConfigError) as caught:
        parse_config({**data, "optim": optim}, "x")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_plateau_trains_the_same_network_again() -> None:
    config = with_optim(4, schedule="plateau", patience_epochs=0, decay_rate=0.2)
    results = [fit_fold(config, toy_set(), 2, quiet) for _ in range(2)]
    assert all(torch.equal(results[0].weights[name], results[1].weights[name]) for name in results[0].weights)
