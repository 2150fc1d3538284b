"""A process that has imported all that training needs, and forks a child for each order that it reads.

A child costs no import, starts with a clean memory (of the GPU, too) and can be killed at any moment. Orders come as
lines of JSON on standard input, `{"stop": true}` ends the one in work, and the end of the input ends this process:
whoever gave the orders has died. Events and outcomes go out as lines; what is printed goes to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import traceback
from dataclasses import asdict
from typing import Any, TextIO

from foldpack.errors import FoldpackError
from foldpack.train.cluster.orders import Order, Outcome
from foldpack.train.cluster.versions import program_versions
from foldpack.train.cluster.work import carry_out

LOOK = 0.05  # seconds between two looks at a child that works
IDLE = 600.0  # seconds without an order before the process ends
PARENT_DIES = 1  # PR_SET_PDEATHSIG of prctl(2)


class Lines:
    """Whole lines of a file descriptor, without waiting longer than asked."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.rest = b""

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next line, read as JSON; None after so many seconds without one. Raises EOFError."""
        while b"\n" not in self.rest:
            if not select.select([self.descriptor], [], [], timeout)[0]:
                return None
            read = os.read(self.descriptor, 1 << 16)
            if not read:
                raise EOFError
            self.rest += read
        line, _, self.rest = self.rest.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order


def main() -> None:
    """Serve until the input ends, or nothing has come for long."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what others print must not be taken for an event
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever gives the orders decides
    lines, versions = Lines(0), program_versions()
    say(out, {"ready": True})
    with contextlib.suppress(EOFError):
        while (given := lines.next(IDLE)) is not None:
            if "stop" not in given:  # one that comes after the end of its order stops nothing
                say(out, {"exit": serve(Order.read(given), lines, out, versions)})


def say(out: TextIO, line: dict[str, Any]) -> None:
    """One line of JSON."""
    out.write(json.dumps(line) + "\n")
    out.flush()


def serve(order: Order, lines: Lines, out: TextIO, versions: dict[str, str]) -> int:
    """Let a child carry out an order. Returns its status as of waitpid(2)."""
    child = os.fork()
    if not child:
        work(order, out, versions)
    status = None
    try:
        while status is None:
            stop = lines.next(LOOK)
            if stop is not None:
                kill_group(child)
            done, code = os.waitpid(child, os.WNOHANG)
            status = code if done else None
    finally:
        kill_group(child)  # what it has started, too
    return status


def kill_group(child: int) -> None:
    """Kill a child and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # before it has a group of its own


def work(order: Order, out: TextIO, versions: dict[str, str]) -> None:
    """The child: it never returns."""
    os.setpgid(0, 0)  # not a session: the share of the machine that this one has been given stays
    ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    outcome, code = Outcome(), 0
    try:
        outcome = Outcome(result=carry_out(order, lambda event: say(out, {"event": event}), versions))
    except FoldpackError as failure:
        outcome = Outcome(error=str(failure))
    except BaseException:
        outcome, code = Outcome(bug=traceback.format_exc()), 1
    try:
        say(out, {"done": asdict(outcome)})
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
