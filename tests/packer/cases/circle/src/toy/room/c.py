from __future__ import annotations

from toy.a import f


def h() -> int:
    return f()
