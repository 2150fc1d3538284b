from __future__ import annotations

X = 1
X = 2


def f() -> int:
    return X


def f() -> int:
    return 2
