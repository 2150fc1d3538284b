"""Orders carried out by the workers of a Dask cluster: one at a time each, only by workers that passed the check.

Dask puts an order that a lost worker had to another. A worker that passed gets a resource that the orders ask for, of
which it has one; so Dask gives it one order at a time, however many threads it has, and none before the check.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

from distributed import Client, Future, Worker, get_worker
from distributed.scheduler import KilledWorker

from foldpack.train.cluster.helper import Helper
from foldpack.train.cluster.orders import GONE, ChildDied, ClusterError, Order, Outcome
from foldpack.train.cluster.pool import TRIES, Pool

SLOT = "foldpack"  # the resource of which each worker has one
LOOK = 1.0  # seconds between two looks at who is there


@cache
def own_helper() -> Helper:
    """The child process of this worker."""
    return Helper()


def carry(plain: dict[str, Any], topic: str) -> dict[str, Any]:
    """What a worker does: have its child carry out an order, until nobody waits for it. Raises ChildDied."""
    worker = get_worker()
    key, order = worker.get_current_task(), Order.read(plain)

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    def tell(event: dict[str, Any]) -> None:
        worker.log_event(topic, {"order": order.name, "event": event, "host": socket.gethostname()})

    tell({"begins": True})
    return asdict(own_helper().run(order.on(worker.state.nthreads), tell, wanted))


async def try_worker(plain: dict[str, Any], own: bool, dask_worker: Worker) -> dict[str, Any]:
    """Have a worker's child do the check, and let the worker be given orders if all is well. own: Ctrl-C reaches it."""
    if own and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client stops it
    order = Order.read(plain).on(dask_worker.state.nthreads)
    helper = Helper() if own_helper().busy.locked() else own_helper()  # it may train for somebody else
    outcome = await asyncio.to_thread(helper.run, order, lambda event: None, lambda: True)
    if helper is not own_helper():
        helper.close()
    if outcome.result is not None:
        await dask_worker.set_resources(**{SLOT: 1, order.name: 1})
    return {**asdict(outcome), "host": socket.gethostname()}


async def leave_worker(job: str, dask_worker: Worker) -> None:
    """The resource that the check has brought is gone with its job."""
    await dask_worker.set_resources(**{job: 0})


class DaskPool(Pool):
    """A client of a cluster, which may grow and shrink while it works."""

    def __init__(self, client: Client, check: Order, own: bool, say: Callable[[str], None]) -> None:
        """check: the order that every worker has to pass; own: the workers are processes of this terminal's."""
        super().__init__()
        self.client, self.own, self.say = client, own, say
        self.job = f"{SLOT}-{uuid.uuid4().hex[:12]}"
        self.check = Order.read({**check.plain(), "name": self.job})
        self.good = 0  # workers that passed the check and are there
        self.refused: set[str] = set()  # addresses of those that did not
        self.trying: set[str] = set()  # of those that came late and are doing it
        self.warnings: queue.SimpleQueue[str] = queue.SimpleQueue()  # of late ones, for the thread that says them
        self.looked = 0.0
        self.futures: dict[str, Future] = {}
        client.subscribe_topic(self.job, self.hear)

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """An event of a worker."""
        said = event[1]
        self.heard.put((said["order"], {**said["event"], "host": said["host"], "worker": said["worker"]}))

    def slots(self) -> int:
        """The workers that are there and passed. Those that come while others work do the check beside them."""
        if time.monotonic() > self.looked + LOOK:
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
            passed = {address for address, known in workers.items() if known["resources"].get(self.job)}
            self.good = len(passed)
            new = sorted(workers.keys() - passed - self.refused - self.trying)
            if new and self.futures:
                self.trying.update(new)
                threading.Thread(target=self.try_late, args=(new,), daemon=True).start()
            elif new:
                self.good += len(new) - len(bad := self.try_workers(new))
                if bad:
                    raise ClusterError(" | ".join(bad))
            self.looked = time.monotonic()
        while not self.warnings.empty():
            self.say(f"warning: {self.warnings.get()}; it trains nothing")
        return self.good

    def try_late(self, addresses: list[str]) -> None:
        """Let workers do the check in a thread of its own, as it takes seconds that others need not wait for."""
        with contextlib.suppress(Exception):  # the command has ended
            for line in self.try_workers(addresses):
                self.warnings.put(line)
        self.trying.difference_update(addresses)

    def try_workers(self, addresses: list[str]) -> list[str]:
        """Let workers do the check. Returns what is wrong with those that did not pass, a line each."""
        bad: list[str] = []
        answers = self.client.run(try_worker, self.check.plain(), self.own, workers=addresses, on_error="return")
        for address, answer in answers.items():
            told = isinstance(answer, dict)
            if told and answer["result"] is not None:
                continue
            self.refused.add(address)
            bad.append(f"worker {address} on {answer['host']}: {answer['error'] or answer['bug']}" if told else
                       f"worker {address}: {type(answer).__name__}: {answer}; is foldpack installed there, the same?")
        return bad

    def start(self, order: Order) -> None:
        """Submit it. What was given out first goes first."""
        future = self.client.submit(carry, order.plain(), self.job, key=f"{self.job}-{order.name}", retries=TRIES - 1,
                                    resources={SLOT: 1, self.job: 1}, pure=False)
        self.futures[order.name] = future
        future.add_done_callback(lambda done: self.ended(order.name, done))

    def ended(self, name: str, future: Future) -> None:
        """A future is done, in a thread of Dask's. With its scheduler all futures of a client are cancelled."""
        if future.cancelled():
            return self.heard.put((name, Outcome(stopped=True) if name in self.unwanted else ClusterError(
                f"--cluster: {name} was broken off: {GONE}")))
        failure = future.exception()
        if isinstance(failure, KilledWorker):
            failure = ChildDied(f"{name}: one worker after the other died of it; look into their logs")
        self.heard.put((name, Outcome.read(future.result()) if failure is None else failure))

    def stop(self, name: str) -> None:
        """Cancel the future; the worker sees it and kills the child."""
        super().stop(name)
        self.client.cancel([self.futures[name]], force=True)

    def close(self) -> None:
        """Cancel all, and end the children of the workers that are there."""
        with contextlib.suppress(Exception):
            self.client.unsubscribe_topic(self.job)
            self.client.cancel(list(self.futures.values()), force=True)
            self.client.run(leave_worker, self.job, on_error="ignore")


def quiet() -> None:
    """Dask's own lines, of workers that come and go, are not for who trains."""
    for name in ("distributed", "distributed.client", "distributed.nanny", "distributed.scheduler", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
