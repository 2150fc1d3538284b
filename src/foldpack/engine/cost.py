"""What work costs here: the spec's figures until something is measured, then a running average of what was."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

SMOOTHING = 0.3  # weight of the newest measurement in the running average
RECENT = 40  # measurements that the p95 looks at
LOAD_GUESS = 5.0  # seconds to decrypt and build a network, until one was measured


@dataclass
class Measured:
    """Seconds per image and view of one run on one device."""

    average: float | None = None
    count: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, value: float) -> None:
        """Take one measurement in. The first is replaced by the second: it pays for warming up."""
        if self.count <= 1 or self.average is None:
            self.average = value
        else:
            self.average += SMOOTHING * (value - self.average)
        if self.count == 1:
            self.recent.clear()
        self.recent.append(value)
        self.count += 1

    def p95(self) -> float | None:
        """95 of 100 recent measurements are at or below it."""
        return float(np.quantile(list(self.recent), 0.95)) if self.recent else None


class CostModel:
    """Seconds of work of each run, corrected online.

    A run that has not been measured here costs what the spec says times how much slower or faster than their figures
    the measured runs are.
    """

    def __init__(self, seconds_per_image: dict[str, float]) -> None:
        """seconds_per_image: by run; one fold, one view, on the machine of the training."""
        self._planned = seconds_per_image
        self._runs = {run: Measured() for run in seconds_per_image}
        self._load = Measured()
        self._finish = Measured()

    def measure(self, run: str, images: int, views: float, seconds: float) -> None:
        """A part of a unit has been predicted on one device. views: by their costs, the network's own side being 1."""
        self._runs[run].add(seconds / (images * views or 1))

    def measure_load(self, seconds: float) -> None:
        """A device waited so long for the weights of a unit and its network."""
        self._load.add(seconds)

    def measure_finish(self, seconds: float) -> None:
        """A finished unit took so long until it was in the submission."""
        self._finish.add(seconds)

    @property
    def factor(self) -> float:
        """How many times slower this machine is than the one whose figures the spec has; the median over the runs."""
        at_least = 1 if self.any_settled() else 0
        ratios = [done.average / self._planned[run] for run, done in self._runs.items()
                  if done.average is not None and done.count > at_least and self._planned[run] > 0]
        return float(np.median(ratios)) if ratios else 1.0

    def seconds(self, run: str) -> float:
        """Expected seconds for one image and view of a run, on one device."""
        done = self._runs[run]
        if done.average is None:
            return self._planned[run] * self.factor
        if done.count == 1 and self._planned[run] > 0 and self.any_settled():  # the first may have paid for warming up
            return min(done.average, self._planned[run] * self.factor)
        return done.average

    def slow_seconds(self, run: str) -> float:
        """The same at the 95th percentile of what was measured."""
        slow = self._runs[run].p95()
        return max(self.seconds(run), slow) if slow is not None else self.seconds(run)

    def load_seconds(self) -> float:
        """Expected seconds that a device waits for the next unit's network."""
        return self._load.average if self._load.average is not None else LOAD_GUESS

    def finish_seconds(self) -> float:
        """Expected seconds from the last row of a unit to the submission with it."""
        return self._finish.average or 0.0

    def quick_share(self, run: str) -> float:
        """The best that was measured of a run, as a share of what is expected of it; 1 before any measurement."""
        done = self._runs[run]
        return min(1.0, min(done.recent) / done.average) if done.recent and done.average else 1.0

    def any_measured(self) -> bool:
        """Whether anything has been measured here."""
        return any(done.count for done in self._runs.values())

    def any_settled(self) -> bool:
        """Whether the figures of some run no longer rest on its first measurement."""
        return any(done.count > 1 for done in self._runs.values())

    def fresh(self, run: str) -> bool:
        """Whether the figures of a run are still moving: it has been measured only once or twice."""
        return self._runs[run].count <= 2
