from __future__ import annotations

from toy.room.c import h


def g() -> int:
    return h()
