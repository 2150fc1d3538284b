from __future__ import annotations

from toy.a import STATE


def g() -> int:
    return STATE
