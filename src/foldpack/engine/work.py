"""What the engine hands to workers and what they give back."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foldpack.data.rows import Rows
from foldpack.errors import FoldpackError


@dataclass(frozen=True)
class UnitWork:
    """A unit as the engine sees it."""

    role: str  # for the log
    run: str
    views: int
    view_costs: tuple[float, ...] = ()  # of each view, the network's own side being 1; (): all cost 1

    def cost(self, views: int) -> float:
        """What the first so many views cost, in views at the network's own side."""
        return sum(self.view_costs[:views]) if self.view_costs else float(views)


@dataclass(frozen=True)
class Shard:
    """Some rows of one unit."""

    unit: int  # place in the list of units
    start: int  # first row
    stop: int  # behind the last row
    views: int  # so many of the unit's views, from the first on


@dataclass(frozen=True, eq=False)
class Begun:
    """Room for a unit, and the rows that are there already."""

    folder: Path
    views: np.ndarray  # (n,) int: with how many views a process before this one has predicted each row; 0: not yet


@dataclass(frozen=True)
class ShardDone:
    """The rows of a shard are in the store."""

    shard: Shard
    worker: int
    seconds: float  # of predicting
    load_seconds: float  # before it, waiting for weights and building the network


@dataclass(frozen=True)
class ShardFailed:
    """The unit cannot be predicted: its weights, its network or its numbers are wrong. Trying again would not help."""

    shard: Shard
    worker: int
    reason: str
    failure: BaseException | None = None  # in the process of the engine only


@dataclass(frozen=True)
class WorkerLost:
    """A worker died or hangs. The shards that it had go back to the queue."""

    worker: int
    shards: list[Shard]
    reason: str


WorkEvent = ShardDone | ShardFailed | WorkerLost


def failure_reason(failure: BaseException) -> str:
    """What an error says, to be shown by another process: its text, and the traceback of one that nobody foresaw."""
    if isinstance(failure, FoldpackError):
        return str(failure)
    return "".join(traceback.format_exception(failure)).rstrip()


class UnitPredictor(Protocol):
    """Predicts parts of units; lives in every worker, so it is pickled before `open`."""

    def open(self, device: str) -> None:
        """Take a device, such as "cuda:1" or "cpu", for good."""

    def load(self, unit: int) -> Any:
        """Decrypted and verified weights of a unit; called in a thread while another unit is being predicted."""

    def build(self, unit: int, loaded: Any) -> None:
        """Put the unit's network on the device and check that it computes what it should."""

    def predict(self, unit: int, start: int, stop: int, views: int, check: Callable[[], None]) -> Rows:
        """These rows of the unit, of so many of its views. `check` is called before every batch and may raise."""


class WorkPool(Protocol):
    """Workers that take shards."""

    capacity: int  # so many shards can be out at the same time
    devices: int  # so many work at the same time

    def give(self, shard: Shard, following: int | None) -> int:
        """Hand out a shard, and say to which worker; `following` is the unit whose weights may be loaded ahead."""

    def wait(self, seconds: float) -> list[WorkEvent]:
        """What happened, as soon as something has, or nothing after so many seconds."""

    def recover(self, shard: Shard) -> None:
        """The shard takes far too long: end its worker, so that `wait` reports it as lost."""

    def close(self) -> None:
        """End all workers now, whatever they do."""
