from __future__ import annotations

BASE = 4
SIZE = BASE + 1
UNUSED = 9


def area(side: int = BASE, *, scale: int = SIZE) -> int:
    return side * scale
