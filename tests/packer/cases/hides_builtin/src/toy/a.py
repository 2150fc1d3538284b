from __future__ import annotations

from os import open

max = 3


def f() -> object:
    return open, max
