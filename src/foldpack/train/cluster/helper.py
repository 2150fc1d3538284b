"""The process that trains for a worker: started once, asked for one order at a time, killed when nobody waits for it.

This module is imported by Dask's workers: it takes no time.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from foldpack.train.cluster.orders import ChildDied, Order, Outcome, Tell

LOOK = 0.2  # seconds between two questions whether the order is still wanted
COMMAND = ("-P", "-m", "foldpack.train.cluster.zygote")  # -P: the project's files must not hide packages


class Helper:
    """One zygote and the pipes to it. `run` may be called from any thread; one order is in work at a time."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        """env: of the process, beside that of this one."""
        self.env = env or {}
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.busy = threading.Lock()

    def run(self, order: Order, tell: Tell, wanted: Callable[[], bool]) -> Outcome:
        """Have an order carried out. tell: gets its events; wanted: asked now and then; after False the child is
        killed. Raises ChildDied."""
        with self.busy:
            self.start()
            self.send(order.plain())
            return self.hear(order, tell, wanted)

    def hear(self, order: Order, tell: Tell, wanted: Callable[[], bool]) -> Outcome:
        """Pass on what the child says, until it has ended."""
        outcome, stopped = None, False
        while True:
            if not stopped and not wanted():
                stopped = True
                self.send({"stop": True})
            try:
                line = self.lines.get(timeout=LOOK)
            except queue.Empty:
                continue
            if line is None:
                self.close()
                raise ChildDied(f"{order.name}: the process that trains has ended; see its messages above")
            if "event" in line and not stopped:
                tell(line["event"])
            elif "done" in line:
                outcome = Outcome.read(line["done"])
            elif "exit" in line:
                return self.ended(order, outcome, stopped, line["exit"])

    def ended(self, order: Order, outcome: Outcome | None, stopped: bool, status: int) -> Outcome:
        """What an order came to. status: of the child, as of waitpid(2)."""
        if stopped:
            return Outcome(stopped=True)
        if outcome is not None:
            return outcome
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        why = f"was killed by signal {signal}" + (", mostly for want of memory" if signal == 9 else "") if signal else \
            f"ended with code {os.waitstatus_to_exitcode(status)}"
        raise ChildDied(f"{order.name}: the process that trains it {why}")

    def start(self) -> None:
        """Start the zygote, unless it is there."""
        if self.process is not None and self.process.poll() is None:
            return
        self.lines = queue.SimpleQueue()
        self.process = subprocess.Popen([sys.executable, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding="utf-8", process_group=0, env={**os.environ, **self.env})
        threading.Thread(target=self.read, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def read(process: subprocess.Popen[str], lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        """Collect lines until the zygote ends."""
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(json.loads(line))
        lines.put(None)

    def send(self, line: dict[str, Any]) -> None:
        """One line to the zygote; if it has died, `hear` will know."""
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """End the zygote and what it has in work."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
