"""How long to wait between two looks at Kaggle: growing pauses with jitter, all clocks replaceable."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

GROWTH = 1.6
LONGEST = 6.0  # pauses grow up to this many times the first
JITTER = 0.25  # each pause is longer or shorter by up to this share


@dataclass(frozen=True)
class Pace:
    """poll: seconds of the first pause. The other fields are replaced in tests."""

    poll: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic  # seconds
    chance: Callable[[], float] = random.random  # in [0, 1)

    def pause(self, number: int) -> float:
        """Length of the pause after look `number` (from 0), seconds."""
        grown = self.poll * min(GROWTH ** min(number, 50), LONGEST)
        return grown * (1.0 + JITTER * (2.0 * self.chance() - 1.0))

    def looks(self, count: int) -> Iterator[int]:
        """0, 1, ... count - 1, with a pause before each but the first."""
        for number in range(count):
            if number:
                self.sleep(self.pause(number - 1))
            yield number

    def looks_for(self, seconds: float) -> Iterator[int]:
        """0, 1, ... until `seconds` have passed, with a pause before each but the first."""
        started, number = self.clock(), 0
        while number == 0 or self.clock() - started < seconds:
            yield number
            self.sleep(self.pause(number))
            number += 1
