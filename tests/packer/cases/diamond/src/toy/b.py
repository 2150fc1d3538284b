from __future__ import annotations

from toy.room.c import shared


def right() -> str:
    return 'right ' + shared()
