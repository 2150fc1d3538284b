from __future__ import annotations

from collections.abc import Callable

STEP = 3


def counter(start: int) -> Callable[[], int]:
    count = start

    def tick() -> int:
        nonlocal count

        def step() -> int:
            return STEP

        count += step()
        return count

    return tick
