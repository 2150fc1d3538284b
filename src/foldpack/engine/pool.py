"""Workers: one in this process, or one persistent process for each device, which take shards of units."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from foldpack.engine.deadline import OutOfTime
from foldpack.engine.store import UnitStore
from foldpack.engine.work import (
    Shard,
    ShardDone,
    ShardFailed,
    UnitPredictor,
    WorkerLost,
    WorkEvent,
    failure_reason,
)
from foldpack.errors import FoldpackError
from foldpack.sealed.prefetch import SealedPrefetch

AHEAD = 2  # shards that a worker process has: one in work, one waiting
MAX_STARTS = 5  # of one worker; then the others go on without it
START_METHOD = "spawn"  # a forked worker cannot use CUDA once this process has
OPEN_SECONDS = 180.0  # a worker process may take so long to import and to start its device


@dataclass(frozen=True)
class WorkOrder:
    """A shard on its way to a worker."""

    shard: Shard
    key: str  # of the unit in the store
    following: int | None


class ShardRunner:
    """Does the work of one worker, in whatever process: keeps a unit's network, loads the next weights ahead."""

    def __init__(self, predictor: UnitPredictor, store: UnitStore, device: str) -> None:
        self.predictor = predictor
        self.store = store
        self.built: int | None = None
        self.prefetch = SealedPrefetch(predictor.load)
        predictor.open(device)

    def run(self, order: WorkOrder, check: Callable[[], None]) -> tuple[float, float]:
        """Predict a shard into the store. Returns the seconds of predicting and of loading before it."""
        shard, started = order.shard, time.monotonic()
        if self.built != shard.unit:
            self.built = None
            self.predictor.build(shard.unit, self.prefetch.take(shard.unit))
            self.built = shard.unit
            if order.following is not None:
                self.prefetch.start(order.following)
        loaded = time.monotonic()
        rows = self.predictor.predict(shard.unit, shard.start, shard.stop, shard.views, check)
        self.store.write(order.key, shard, rows)
        return time.monotonic() - loaded, loaded - started

    def close(self) -> None:
        """No weights are loaded any more."""
        self.prefetch.close()


class InlinePool:
    """One worker, in this process: for the CPU, and for a single GPU."""

    capacity = 1
    devices = 1

    def __init__(self, predictor: UnitPredictor, store: UnitStore, keys: list[str], device: str,
                 check: Callable[[], None]) -> None:
        """keys: of the units in the store; check: called before every batch, ends the work by raising."""
        self._runner = ShardRunner(predictor, store, device)
        self._keys = keys
        self._check = check
        self._orders: deque[WorkOrder] = deque()

    def give(self, shard: Shard, following: int | None) -> int:
        """Note a shard; `wait` does it."""
        self._orders.append(WorkOrder(shard, self._keys[shard.unit], following))
        return 0

    def wait(self, seconds: float) -> list[WorkEvent]:
        """Do what was given. OutOfTime, raised by `check`, goes through; any other error is a failure of the unit."""
        if not self._orders:
            return []
        order = self._orders.popleft()
        try:
            spent, loading = self._runner.run(order, self._check)
        except OutOfTime:
            raise
        except Exception as failure:
            return [ShardFailed(order.shard, 0, failure_reason(failure), failure)]
        return [ShardDone(order.shard, 0, spent, loading)]

    def recover(self, shard: Shard) -> None:
        """Nothing: this very process does the work; the watchdog ends it when it hangs."""

    def close(self) -> None:
        """No weights are loaded any more."""
        self._runner.close()


def worker_process(predictor: UnitPredictor, store: UnitStore, device: str, threads: int, orders: Connection,
                   answers: Connection) -> None:
    """The body of a worker process: orders in, answers out, until the order is None or the pipe ends.

    It also ends after an error that leaves its device unusable: the process that is started in its place has a new one.
    """
    leave_signals_to_the_engine()
    set_worker_threads(threads)
    try:
        runner = ShardRunner(predictor, store, device)
    except Exception as failure:
        answers.send(("unusable", failure_reason(failure)))
        return
    answers.send(("open", device))
    while (order := receive_order(orders)) is not None:
        try:
            answers.send(("done", order.shard, *runner.run(order, no_check)))
        except Exception as failure:
            answers.send(("failed", order.shard, failure_reason(failure)))
            if not device_answers(device):
                break
    runner.close()


def set_worker_threads(threads: int) -> None:
    """Let torch use so many threads; two worker processes must not fight for the same cores."""
    torch.set_num_threads(threads)


def receive_order(orders: Connection) -> WorkOrder | None:
    """The next order; None at the end, also when the engine's process is gone.

    Where workers are forked, they hold each other's ends of the pipes open, so the end of a pipe is not enough.
    """
    engine = multiprocessing.parent_process()
    try:
        if engine is not None and orders not in wait([orders, engine.sentinel]):
            return None
        return orders.recv()
    except EOFError:
        return None


def device_answers(device: str) -> bool:
    """Whether a device still works after an error: some, such as an illegal access, end a GPU for the whole process."""
    if not device.startswith("cuda"):
        return True
    try:
        torch.cuda.synchronize(device)
    except Exception:  # whatever the driver raises
        return False
    return True


def no_check() -> None:
    """Worker processes do not watch the clock: the engine ends them."""


@dataclass
class WorkerHandle:
    """A worker process as the engine's process sees it."""

    number: int
    device: str
    process: Any
    orders: Connection
    answers: Connection
    started: float
    open: bool = False
    shards: list[Shard] = field(default_factory=list)  # given and not answered, oldest first
    ended_for: str = ""  # why it was ended on purpose


class ProcessPool:
    """One persistent process for each device. A process that dies is started again; its shards are reported as lost."""

    def __init__(self, predictor: UnitPredictor, store: UnitStore, keys: list[str], devices: list[str],
                 start_method: str, threads: int, say: Callable[[str], None]) -> None:
        """keys: of the units in the store; devices: one process each; threads: of the CPU, for each process.

        start_method: START_METHOD; "fork" starts faster, and is for tests on the CPU.
        """
        self._context = multiprocessing.get_context(start_method)
        self._parts = predictor, store
        self._keys = keys
        self._threads = threads
        self._say = say
        self.devices = len(devices)
        self.capacity = AHEAD * len(devices)
        self._starts = dict.fromkeys(range(len(devices)), 0)  # by worker
        self._workers = {number: self._start(number, device) for number, device in enumerate(devices)}

    def _start(self, number: int, device: str) -> WorkerHandle:
        self._starts[number] += 1
        theirs, orders = self._context.Pipe(duplex=False)
        answers, ours = self._context.Pipe(duplex=False)
        process = self._context.Process(  # type: ignore[attr-defined]
            target=worker_process, args=(*self._parts, device, self._threads, theirs, ours), daemon=True,
            name=f"worker{number}-{device}")
        process.start()
        theirs.close()
        ours.close()
        return WorkerHandle(number, device, process, orders, answers, time.monotonic())

    def give(self, shard: Shard, following: int | None) -> int:
        """To the worker with the fewest shards."""
        worker = min(self._workers.values(), key=lambda each: (len(each.shards), each.number))
        worker.shards.append(shard)
        try:
            worker.orders.send(WorkOrder(shard, self._keys[shard.unit], following))
        except OSError:
            pass  # it is dead: `wait` finds out and gives the shard back
        return worker.number

    def wait(self, seconds: float) -> list[WorkEvent]:
        """Answers of the workers, and who was lost."""
        by_answers = {worker.answers: worker for worker in self._workers.values()}
        events: list[WorkEvent] = []
        for ready in wait(list(by_answers), seconds):
            events += self._hear(by_answers[ready])  # type: ignore[index]
        for worker in self._workers.values():
            if not worker.open and time.monotonic() - worker.started > OPEN_SECONDS:
                worker.ended_for = f"not started after {OPEN_SECONDS:.0f} s"
                worker.process.kill()
        return events

    def _hear(self, worker: WorkerHandle) -> list[WorkEvent]:
        try:
            kind, *rest = worker.answers.recv()
        except (EOFError, OSError):
            return [self._lost(worker)]
        if kind == "open":
            worker.open = True
            return []
        if kind == "unusable":
            worker.ended_for = f"the device cannot be used: {rest[0]}"
            self._starts[worker.number] = MAX_STARTS
            return [self._lost(worker)]
        worker.shards.remove(rest[0])
        if kind == "done":
            return [ShardDone(rest[0], worker.number, rest[1], rest[2])]
        return [ShardFailed(rest[0], worker.number, rest[1])]

    def _lost(self, worker: WorkerHandle) -> WorkerLost:
        worker.process.join(5)
        worker.orders.close()
        worker.answers.close()
        reason = worker.ended_for or f"process ended with code {worker.process.exitcode}"
        again = self._starts[worker.number] < MAX_STARTS
        self._say(f"worker {worker.number} on {worker.device} is lost: {reason}; "
                  f"{'starting it again' if again else 'going on without it'}")
        if again:
            self._workers[worker.number] = self._start(worker.number, worker.device)
        else:
            self._leave_out(worker, reason)
        return WorkerLost(worker.number, worker.shards, reason)

    def _leave_out(self, worker: WorkerHandle, reason: str) -> None:
        """Go on with the other workers. Raises FoldpackError when there is none."""
        del self._workers[worker.number]
        self.devices = len(self._workers)
        self.capacity = AHEAD * self.devices
        if not self._workers:
            raise FoldpackError(f"no worker is left, the last one on {worker.device}: {reason}")

    def recover(self, shard: Shard) -> None:
        """End the worker that hangs at a shard."""
        for worker in self._workers.values():
            if shard in worker.shards and not worker.ended_for:
                worker.ended_for = f"no answer for rows {shard.start} to {shard.stop} in time"
                worker.process.kill()

    def close(self) -> None:
        """End all workers now."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join(5)
            worker.orders.close()
            worker.answers.close()


def leave_signals_to_the_engine() -> None:
    """In a worker: Ctrl-C, which a terminal sends to all processes, is the engine's affair, which then ends its
    workers; SIGTERM ends a worker at once, also a forked one, which has inherited the engine's handler."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
