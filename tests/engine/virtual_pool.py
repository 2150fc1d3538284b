"""A machine that is only arithmetic: its clock moves when the engine waits, by what the work would have taken."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.engine.cost import CostModel
from foldpack.engine.deadline import Deadline, OutOfTime
from foldpack.engine.engine import Engine, EngineHooks
from foldpack.engine.runlog import RunLog
from foldpack.engine.work import Begun, Shard, ShardDone, ShardFailed, UnitWork, WorkerLost, WorkEvent


class VirtualClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Device:
    """One device: the shards it has, and when the first of them will be done."""

    shards: list[Shard] = field(default_factory=list)
    done_at: float | None = None  # None: idle; infinity: it hangs
    spent: float = 0.0  # of the shard in work
    loading: float = 0.0
    built: int | None = None
    fault: str = ""


@dataclass
class Machine:
    """What work costs on the made-up machine."""

    seconds: Callable[[str, float], float]  # (run, seconds since the start) -> for one image and view
    load: float = 2.0  # to build a unit's network
    images_per_second: float = 1e9
    fault: Callable[[Shard, int], str] = lambda shard, attempt: ""  # "", "hang", "lose", "fail", "lose after"
    finish: float = 0.0  # the engine's own work after each unit
    batch: int = 32  # images and views between two looks at the clock, without worker processes
    overhead: Callable[[Shard], float] = lambda shard: 0.0  # lost on a shard, as by running out of memory


class VirtualPool:
    """A WorkPool of devices that only count. `inline`: one of them, which works inside `wait`, as InlinePool."""

    def __init__(self, machine: Machine, clock: VirtualClock, units: list[UnitWork], devices: int, inline: bool,
                 check: Callable[[], None], step: float) -> None:
        """step: seconds; nobody looks at the clock more often, which keeps the tests quick."""
        self.machine, self.clock, self.units, self.inline, self.check = machine, clock, units, inline, check
        self.start = clock.now
        self.step = step
        self.devices = devices
        self.capacity = 1 if inline else 2 * devices
        self.workers = [Device() for _ in range(devices)]
        self.attempts: dict[tuple[int, int], int] = {}
        self.written: dict[int, dict[int, int]] = {}  # unit -> row -> views
        self.answered: dict[tuple[int, int], int] = {}  # (unit, start) -> how often it was done

    def give(self, shard: Shard, following: int | None) -> int:
        assert sum(len(worker.shards) for worker in self.workers) < self.capacity
        worker = min(self.workers, key=lambda each: len(each.shards))
        worker.shards.append(shard)
        self.begin(worker)
        return self.workers.index(worker)

    def begin(self, worker: Device) -> None:
        if worker.done_at is not None or not worker.shards:
            return
        shard = worker.shards[0]
        attempt = self.attempts[shard.unit, shard.start] = self.attempts.get((shard.unit, shard.start), 0) + 1
        worker.fault = self.machine.fault(shard, attempt)
        worker.loading = 0.0 if worker.built == shard.unit else self.machine.load
        worker.built = shard.unit
        work = self.units[shard.unit]
        each = self.machine.seconds(work.run, self.clock.now - self.start)
        worker.spent = (shard.stop - shard.start) * work.cost(shard.views) * each + self.machine.overhead(shard)
        worker.done_at = self.clock.now + worker.loading + worker.spent
        if worker.fault == "hang":
            worker.done_at = float("inf")

    def wait(self, seconds: float) -> list[WorkEvent]:
        busy = [worker for worker in self.workers if worker.done_at is not None]
        if self.inline:
            return self.work_here(busy[0]) if busy else []
        until = min((worker.done_at for worker in busy if worker.done_at is not None), default=float("inf"))
        if until > self.clock.now + max(seconds, self.step):
            self.clock.now += max(seconds, self.step)
            return []
        self.clock.now = max(self.clock.now, until)
        return [event for worker in busy if worker.done_at is not None and worker.done_at <= self.clock.now
                for event in self.end(worker)]

    def work_here(self, worker: Device) -> list[WorkEvent]:
        """As one process does it: nothing else happens meanwhile, but it looks at the clock before each batch."""
        assert worker.done_at is not None and worker.done_at < float("inf")
        shard = worker.shards[0]
        self.clock.now += worker.loading
        batches = max(1, -(-(shard.stop - shard.start) * shard.views // self.machine.batch))
        for _ in range(batches):
            self.check()
            self.clock.now += worker.spent / batches
        return self.end(worker)

    def end(self, worker: Device) -> list[WorkEvent]:
        shard = worker.shards[0]
        number = self.workers.index(worker)
        if worker.fault in ("lose", "lose after"):
            if worker.fault == "lose after":  # written, but never told
                self.write(shard)
            return [self.lose(worker, "made up")]
        worker.shards.pop(0)
        worker.done_at = None
        spent, loading = worker.spent, worker.loading
        if worker.fault == "fail":
            self.begin(worker)
            return [ShardFailed(shard, number, "made up")]
        self.write(shard)
        self.answered[shard.unit, shard.start] = self.answered.get((shard.unit, shard.start), 0) + 1
        self.begin(worker)
        return [ShardDone(shard, number, spent, loading)]

    def lose(self, worker: Device, reason: str) -> WorkerLost:
        lost = WorkerLost(self.workers.index(worker), worker.shards, reason)
        self.workers[lost.worker] = Device()
        return lost

    def write(self, shard: Shard) -> None:
        rows = self.written.setdefault(shard.unit, {})
        rows.update(dict.fromkeys(range(shard.start, shard.stop), shard.views))

    def recover(self, shard: Shard) -> None:
        for worker in self.workers:
            if shard in worker.shards:
                worker.fault, worker.done_at = "lose", self.clock.now

    def close(self) -> None:
        self.workers = []


@dataclass
class Outcome:
    """What one made-up run showed."""

    engine: Engine
    pool: VirtualPool
    ended: float  # seconds since the start, on the made-up clock
    finished: list[int]
    whole: dict[int, bool]
    failed: list[int]
    estimates: list[tuple[float, float]]  # (elapsed, elapsed + expected)
    events: list[dict[str, object]]


class Watched(Engine):
    """Notes the estimate at every turn, not every ten seconds."""

    estimates: list[tuple[float, float]]

    def tell(self) -> None:
        now = self.deadline.elapsed()
        if not self.estimates or now > self.estimates[-1][0] + 2:
            self.estimates.append((now, now + self.expected_seconds()))
        super().tell()


def play(machine: Machine, units: list[UnitWork], costs: dict[str, float], rows: int = 1000, shard_rows: int = 64,
         devices: int = 1, inline: bool = False, hours: float = 1.0, margin: float = 0.06,
         go_on: bool = True, done: set[int] | None = None, folder: Path | None = None,
         there: dict[int, list[int]] | None = None) -> Outcome:
    """One run of the engine on a made-up machine. go_on: a failed unit does not end the run. there: with how many views
    an earlier process has predicted the first rows of a unit."""
    clock = VirtualClock()
    deadline = Deadline(hours, margin, clock)
    pool = VirtualPool(machine, clock, units, devices, inline, deadline.check, hours * 3600 / 600)
    finished: list[int] = []
    whole: dict[int, bool] = {}
    failed: list[int] = []

    def ready(wanted: int, seconds: float) -> bool:
        at = pool.start + wanted / machine.images_per_second
        if at > clock.now:
            clock.now = min(at, clock.now + seconds)
        return at <= clock.now

    def finish(unit: int, all_views: bool) -> None:
        assert set(pool.written[unit]) == set(range(rows)), "a unit without all rows was called finished"
        assert min(pool.written[unit].values()) >= 1
        assert not all_views or set(pool.written[unit].values()) == {units[unit].views}
        clock.now += machine.finish
        finished.append(unit)
        whole[unit] = all_views

    def begin(unit: int) -> Begun:
        pool.written[unit] = dict(enumerate((there or {}).get(unit, ())))
        return Begun(Path(), np.array([pool.written[unit].get(row, 0) for row in range(rows)]))

    def fail(event: ShardFailed) -> None:
        failed.append(event.shard.unit)
        if not go_on:
            raise RuntimeError(event.reason)

    def left() -> float:
        return max(0.0, rows / machine.images_per_second - (clock.now - pool.start))

    log = RunLog(deadline.elapsed, folder / "log.jsonl" if folder else None)
    hooks = EngineHooks(begin=begin, finish=finish, failed=fail,
                        rows_ready=ready, images_left=left)
    engine = Watched(units, rows, shard_rows, pool, CostModel(costs), deadline, hooks, log, done)
    engine.estimates = []
    try:
        engine.run()
    except OutOfTime:
        pass
    assert len(finished) == len(set(finished)), "a unit was finished twice"
    return Outcome(engine, pool, deadline.elapsed(), finished, whole, failed, engine.estimates, log.events)


def noisy(factor: float, spec: dict[str, float], seed: int, spread: float = 0.1) -> Callable[[str, float], float]:
    """Costs that are `factor` times those of the spec, and vary by `spread`."""
    dice = random.Random(seed)
    return lambda run, now: spec[run] * factor * dice.uniform(1 - spread, 1 + spread)
