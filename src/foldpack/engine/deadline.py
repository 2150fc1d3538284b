"""The kernel's time limit, counted from the start of the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


class OutOfTime(Exception):
    """The deadline has come; what is finished stands."""


class Deadline:
    """Seconds left until the limit less its margin."""

    def __init__(self, hours: float, margin: float, clock: Callable[[], float] = time.monotonic,
                 already_run: float = 0.0) -> None:
        """hours: the limit; margin: share of it kept free; already_run: seconds since the process started."""
        self._clock = clock
        self._start = clock() - already_run
        self._seconds = hours * 3600.0 * (1.0 - margin)
        self._reserved = 0.0
        self.margin_seconds = hours * 3600.0 * margin

    def elapsed(self) -> float:
        """Seconds since the process started."""
        return self._clock() - self._start

    def left(self) -> float:
        """Seconds until work must end; below 0 when it should have ended."""
        return self._seconds - self._reserved - self.elapsed()

    def reserve(self, seconds: float) -> None:
        """Keep so many seconds free for what comes after the work; replaces an earlier reserve."""
        self._reserved = max(0.0, seconds)

    def part(self, share: float) -> StageDeadline:
        """The same clock for a stage that begins now, with a share of what is left."""
        return StageDeadline(self, share)

    def check(self) -> None:
        """Raises OutOfTime once the deadline has come."""
        if self.left() <= 0:
            raise OutOfTime(f"out of time after {self.elapsed():.0f} s")


class StageDeadline(Deadline):
    """The clock of one stage: it shares the limit of all, and has a reserve of its own.

    Half of a stage is worth nothing to the next one, so its share of the time binds once it has an answer.
    """

    def __init__(self, whole: Deadline, share: float) -> None:
        """share: of the time left now, 0 to 1."""
        self._whole = whole
        self._until = whole.elapsed() + share * whole.left()
        self._bound = False
        self._reserved = 0.0
        self.margin_seconds = whole.margin_seconds

    def elapsed(self) -> float:
        """Seconds since the process started."""
        return self._whole.elapsed()

    def bind(self) -> None:
        """From now on no more than the stage's share."""
        self._bound = True

    def left(self) -> float:
        """Seconds until work on this stage must end."""
        left = self._whole.left()
        return (min(left, self._until - self.elapsed()) if self._bound else left) - self._reserved


def process_age() -> float:
    """Seconds since this process started, imports included; 0 where /proc is missing."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0.0
    return max(0.0, uptime - float(fields[19]) / os.sysconf("SC_CLK_TCK"))
