from __future__ import annotations

def f() -> int:
    return 1


def other() -> int:
    return 1
