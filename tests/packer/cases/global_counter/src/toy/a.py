from __future__ import annotations

_COUNT = 0


def bump() -> None:
    global _COUNT
    _COUNT += 1


def read() -> int:
    return _COUNT
