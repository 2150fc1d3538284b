"""The learning rate over a run: timm's schedules, the fall on a plateau, and a refusal of what would do nothing."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from timm.scheduler import create_scheduler_v2

from foldpack.errors import did_you_mean
from foldpack.metrics.plugin import find_metric
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.settings.training.optim import SCHEDULE_SETTINGS

STEADY = ("constant", "none")  # asked for, so they may keep the rate
FALLING = ("step", "multistep", "plateau")  # the rate falls at certain epochs only
WITHOUT_MIN_LR = (*STEADY, "step", "multistep")
MOST_SIMULATED = 20_000  # updates
RISE = 25.0  # onecycle: how many times its first rate the highest one is


class Schedule(Protocol):
    """What timm's schedulers offer: both set the learning rate of the optimiser they were built with."""

    def step_update(self, num_updates: int) -> None:
        """After so many updates of the weights."""

    def step(self, epoch: int, metric: float | None = None) -> bool | None:
        """After so many epochs; the metric of the last one, None when it was not evaluated. True: the rate fell."""

    def state_dict(self) -> dict[str, Any]:
        """What it has to know to go on, beside the optimiser's own state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""


class OneCycle:
    """Up along half a cosine through the warm-up, from a 25th of the rate, and down along half a cosine to `min_lr`;
    momentum the other way round, 0.95 to 0.85 and back. torch's OneCycleLR (arXiv 1708.07120), with its values."""

    def __init__(self, config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> None:
        optim, self.updates = config.optim, config.epochs * updates_per_epoch
        highest = [group["lr"] * group.get("lr_scale", 1.0) for group in optimizer.param_groups]
        first = optim.lr / RISE
        rising = max(2, optim.warmup_epochs * updates_per_epoch)  # torch cannot rise within one update
        self.cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, highest, self.updates, pct_start=min(1.0, rising / self.updates), div_factor=RISE,
            final_div_factor=first / optim.min_lr if optim.min_lr else math.inf,
            cycle_momentum=bool({"momentum", "betas"} & optimizer.defaults.keys()))

    def step_update(self, num_updates: int) -> None:
        """Take the rate from the place in the cycle alone."""
        if num_updates < self.updates:
            self.cycle.last_epoch = num_updates - 1
            self.cycle.step()

    def step(self, epoch: int, metric: float | None = None) -> None:
        """Epochs do not matter."""

    def state_dict(self) -> dict[str, Any]:
        """`Schedule.state_dict`."""
        return self.cycle.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """`Schedule.load_state_dict`."""
        self.cycle.load_state_dict(state_dict)


class SwaSchedule:
    """Another schedule, and in the last epochs one rate throughout: `swa.lr`, times what a group had of `optim.lr`."""

    def __init__(self, config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> None:
        assert config.swa is not None and config.swa.lr is not None
        self.rates = [config.swa.lr * group["lr"] / config.optim.lr * group.get("lr_scale", 1.0)
                      for group in optimizer.param_groups]
        self.before, self.optimizer = named_schedule(config, optimizer, updates_per_epoch), optimizer
        self.first_epoch = config.epochs - config.swa.epochs
        self.first = self.first_epoch * updates_per_epoch

    def step_update(self, num_updates: int) -> None:
        """The rate of the other one until its time is over."""
        if self.before is not None:
            self.before.step_update(num_updates)
        if num_updates >= self.first:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate

    def step(self, epoch: int, metric: float | None = None) -> bool | None:
        """What the other one says of it, until its time is over."""
        return None if self.before is None or epoch >= self.first_epoch else self.before.step(epoch, metric)

    def state_dict(self) -> dict[str, Any]:
        """`Schedule.state_dict`."""
        return {} if self.before is None else self.before.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """`Schedule.load_state_dict`."""
        if self.before is not None:
            self.before.load_state_dict(state_dict)


class PlateauSchedule:
    """The rate rises through the warm-up, then falls by a factor whenever the metric has not got better for a while.

    The rule is PyTorch's ReduceLROnPlateau: it falls at the end of the first epoch that is more than `patience_epochs`
    after the best one (relative gains below 1e-4 are none) and never below `min_lr`. Evaluations within the warm-up do
    not count. timm's own PlateauLRScheduler does the same by the epoch, but is about to be removed.
    """

    def __init__(self, config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> None:
        optim = config.optim
        self.warmup = steady_schedule(config, optimizer, updates_per_epoch)
        self.warmup_epochs = optim.warmup_epochs
        self.warmup_updates = optim.warmup_epochs * updates_per_epoch
        patience = 10 if optim.patience_epochs is None else optim.patience_epochs  # timm's value
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max" if find_metric(config.metric).greater_is_better else "min",
            factor=0.1 if optim.decay_rate is None else optim.decay_rate, min_lr=optim.min_lr,
            patience=patience // config.evaluate_every)  # it counts evaluations

    def step_update(self, num_updates: int) -> None:
        """Rise with every update of the warm-up."""
        if num_updates <= self.warmup_updates:
            self.warmup.step_update(num_updates)

    def step(self, epoch: int, metric: float | None = None) -> bool:
        """Take note of a metric, and fall if it is time. Returns whether it did."""
        before = [group["lr"] for group in self.plateau.optimizer.param_groups]
        if metric is not None and epoch > self.warmup_epochs:
            self.plateau.step(metric)
        return [group["lr"] for group in self.plateau.optimizer.param_groups] != before

    def state_dict(self) -> dict[str, Any]:
        """`Schedule.state_dict`."""
        return {"warmup": self.warmup.state_dict(), "plateau": self.plateau.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """`Schedule.load_state_dict`."""
        self.warmup.load_state_dict(state_dict["warmup"])
        self.plateau.load_state_dict(state_dict["plateau"])


def build_scheduler(config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> Schedule | None:
    """The schedule of a run, with the end that `swa` wants; None for none. Raises ConfigError for one that is unknown
    or cannot be built."""
    if config.swa is not None and config.swa.lr is not None:
        return SwaSchedule(config, optimizer, updates_per_epoch)
    return named_schedule(config, optimizer, updates_per_epoch)


def named_schedule(config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> Schedule | None:
    """That of `optim.schedule`."""
    optim = config.optim
    where = f"run '{config.run}': schedule '{optim.schedule}' cannot be built"
    if optim.schedule not in SCHEDULE_SETTINGS:
        raise ConfigError(f"{where}: {did_you_mean(optim.schedule, list(SCHEDULE_SETTINGS))}")
    try:
        if optim.schedule == "plateau":
            return PlateauSchedule(config, optimizer, updates_per_epoch)
        if optim.schedule == "onecycle":
            return OneCycle(config, optimizer, updates_per_epoch)
        if optim.schedule == "constant":
            return steady_schedule(config, optimizer, updates_per_epoch)
        if optim.schedule == "cosine_restarts":
            return timm_schedule(config, optimizer, updates_per_epoch, "cosine", restarts(config))
        given = {name: getattr(optim, name) for name in SCHEDULE_SETTINGS[optim.schedule]}
        return timm_schedule(config, optimizer, updates_per_epoch, optim.schedule,
                             {name: value for name, value in given.items() if value is not None})
    except (ValueError, AssertionError) as failure:
        raise ConfigError(f"{where}: {failure}") from None


def timm_schedule(config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int, name: str,
                  settings: dict[str, Any]) -> Any:
    """timm's scheduler factory, stepped once per update."""
    optim = config.optim
    return create_scheduler_v2(optimizer, sched=name, step_on_epochs=False, updates_per_epoch=updates_per_epoch, **{
        "num_epochs": config.epochs, "warmup_epochs": optim.warmup_epochs, "warmup_lr": optim.lr / 100,
        "min_lr": optim.min_lr, **settings})[0]


def restarts(config: RunConfig) -> dict[str, Any]:
    """timm's settings of a cosine that begins again, as often as the epochs of the run need it."""
    optim = config.optim
    assert optim.cycle_epochs is not None
    cycles, length = 1, optim.cycle_epochs
    while length < config.epochs:
        length += optim.cycle_epochs * optim.cycle_mul**cycles
        cycles += 1
    return {"num_epochs": optim.cycle_epochs, "cycle_mul": float(optim.cycle_mul), "cycle_decay": optim.cycle_decay,
            "cycle_limit": cycles}


def steady_schedule(config: RunConfig, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> Any:
    """A warm-up, then the same rate to the end: steps by a factor of 1."""
    return timm_schedule(config, optimizer, updates_per_epoch, "step", {"decay_rate": 1.0, "decay_epochs": 1})


def check_schedule(config: RunConfig) -> None:
    """Raises ConfigError for a schedule that would not change the learning rate once the warm-up is over."""
    optim, name = config.optim, config.optim.schedule
    if name in STEADY:
        return
    if name not in WITHOUT_MIN_LR and optim.min_lr >= optim.lr:
        raise ConfigError(f"run '{config.run}': schedule '{name}' would not lower the learning rate: optim.min_lr is "
                          f"{optim.min_lr:g}, optim.lr {optim.lr:g}; set min_lr lower, or use schedule: constant")
    if name == "onecycle" and not 1 <= optim.warmup_epochs < config.epochs:
        raise ConfigError(f"run '{config.run}': schedule 'onecycle' rises in the first optim.warmup_epochs "
                          f"({optim.warmup_epochs} now) of {config.epochs} epochs and falls in the others; set it to 1 "
                          "or more, and below epochs")
    if name == "cosine_restarts" and (optim.cycle_epochs or 0) >= config.epochs:
        raise ConfigError(f"run '{config.run}': schedule 'cosine_restarts' never restarts in {config.epochs} epochs; "
                          f"set optim.cycle_epochs ({optim.cycle_epochs} now) lower, or use schedule: cosine")
    rates = simulated_rates(config)
    idle = np.ptp(rates) == 0 if len(rates) else name in FALLING  # a run that is all warm-up may be a first try
    if idle:
        raise ConfigError(f"run '{config.run}': schedule '{name}' never changes the learning rate in "
                          f"{config.epochs} epochs, {optim.warmup_epochs} of them warm-up; {_remedy(config)}, or use "
                          "schedule: constant")


def simulated_rates(config: RunConfig) -> np.ndarray:
    """The rate at each update after the warm-up but the last one, if the metric never gets better; float64."""
    per_epoch = max(2, min(100, MOST_SIMULATED // config.epochs))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.optim.lr)
    schedule = build_scheduler(config, optimizer, per_epoch)
    assert schedule is not None
    rates, evaluations = [], 0
    for epoch in range(1, config.epochs + 1):
        for update in range(1, per_epoch + 1):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()  # of nothing, but torch warns where it is left out
            schedule.step_update((epoch - 1) * per_epoch + update)
        evaluated = epoch % config.evaluate_every == 0
        evaluations += evaluated
        schedule.step(epoch, 1.0 if evaluated else None)
        stale = (evaluations - 1) * config.evaluate_every
        if config.optim.schedule == "plateau" and config.patience is not None and stale >= config.patience:
            break
    return np.array(rates[config.optim.warmup_epochs * per_epoch : -1])


def _remedy(config: RunConfig) -> str:
    optim, epochs = config.optim, config.epochs
    if optim.schedule == "step":
        return f"set optim.decay_epochs ({optim.decay_epochs or 90:g} now) to fewer epochs"
    if optim.schedule == "multistep":
        return (f"set optim.decay_milestones ({optim.decay_milestones or [90, 180, 270]} now) to epochs after the "
                f"warm-up and below {epochs}")
    if optim.schedule == "plateau":
        patience = 10 if optim.patience_epochs is None else optim.patience_epochs
        ends = "" if config.patience is None else f", below the patience of {config.patience} that ends a fold"
        return f"set optim.patience_epochs ({patience} now) lower{ends}"
    return "set optim.decay_epochs higher" if optim.schedule in ("wsd", "rsqrt") else "set more epochs"
