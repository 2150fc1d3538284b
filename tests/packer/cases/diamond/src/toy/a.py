from __future__ import annotations

from toy.room.c import shared


def left() -> str:
    return 'left ' + shared()
