"""Orders that are carried out side by side, as many as there are workers, and what is heard of them, in one thread."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

from foldpack.train.cluster.helper import Helper
from foldpack.train.cluster.orders import ChildDied, Event, Order, Outcome

Tell = Callable[[Order, Event], None]
LOOK = 0.2  # seconds between two looks at the workers
PATIENCE = 10.0  # seconds without workers before that is said
TRIES = 3  # of an order whose process dies


class Pool(ABC):
    """Who carries out orders. Use it as a context: at its end all that is in work is stopped."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[str, Event | Outcome | BaseException]] = queue.SimpleQueue()
        self.in_work: dict[str, Order] = {}
        self.unwanted: set[str] = set()  # names of orders that were stopped

    @abstractmethod
    def slots(self) -> int:
        """How many orders can be in work now. Called every `LOOK` seconds; a worker that has come is tried first."""

    @abstractmethod
    def start(self, order: Order) -> None:
        """Begin an order; what it says, and its outcome, are put into `heard`."""

    @abstractmethod
    def close(self) -> None:
        """Stop all that is in work and let the workers go."""

    def wait(self, say: Callable[[str], None]) -> None:
        """Until there is a worker that passed the check; says so where there is none for long."""
        started, told = time.monotonic(), False
        while not self.slots():
            if not told and time.monotonic() - started > PATIENCE:
                say("no workers yet; waiting for them")
                told = True
            time.sleep(LOOK)

    def stop(self, name: str) -> None:
        """Stop an order; its outcome will be that it was stopped."""
        self.unwanted.add(name)

    def carry_out(self, orders: Iterator[Order], tell: Tell) -> Iterator[tuple[Order, Outcome]]:
        """Orders with their outcomes, as they end. An order is drawn when there is somebody free to begin it.

        tell: gets every event. An order whose process dies again and again has failed.
        """
        more = True
        while more or self.in_work:
            while more and len(self.in_work) < self.slots():
                order = next(orders, None)
                if order is None:
                    more = False
                    break
                self.in_work[order.name] = order
                self.start(order)
            if more or self.in_work:
                yield from self.listen(tell)

    def listen(self, tell: Tell) -> Iterator[tuple[Order, Outcome]]:
        """What has been heard, waiting `LOOK` seconds for it."""
        with contextlib.suppress(queue.Empty):
            name, said = self.heard.get(timeout=LOOK)
            order = self.in_work.get(name)
            if order is None:
                return
            if isinstance(said, dict):
                tell(order, said)
                return
            del self.in_work[name]
            stopped = name in self.unwanted
            self.unwanted.discard(name)
            if stopped:
                yield order, Outcome(stopped=True)
            elif isinstance(said, ChildDied):
                yield order, Outcome(error=str(said))
            elif isinstance(said, Outcome):
                yield order, said
            else:
                raise said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class OwnPool(Pool):
    """One child process of this one."""

    def __init__(self, threads: int) -> None:
        """threads: of torch."""
        super().__init__()
        self.threads = threads
        self.helper = Helper()
        self.closed = False

    def slots(self) -> int:
        """One."""
        return 1

    def start(self, order: Order) -> None:
        """In a thread that waits for the child."""
        threading.Thread(target=self.run, args=(order.on(self.threads),), daemon=True).start()

    def run(self, order: Order) -> None:
        """Carry out an order, once more where its process dies."""
        def wanted() -> bool:
            return not self.closed and order.name not in self.unwanted

        for again in reversed(range(TRIES)):
            try:
                outcome = self.helper.run(order, lambda event: self.heard.put((order.name, event)), wanted)
                return self.heard.put((order.name, outcome))
            except ChildDied as failure:
                if not again:
                    return self.heard.put((order.name, failure))

    def close(self) -> None:
        """End the child."""
        self.closed = True
        with self.helper.busy:
            self.helper.close()
