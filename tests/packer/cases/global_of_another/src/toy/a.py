from __future__ import annotations

STATE = 1


def f() -> int:
    global STATE, OTHER
    STATE = 2
    return STATE
