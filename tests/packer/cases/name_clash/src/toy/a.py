from __future__ import annotations

def f() -> int:
    return 1


def helper() -> int:
    return 1


_LOG = 1
