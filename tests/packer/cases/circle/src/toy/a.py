from __future__ import annotations

from toy.b import g


def f() -> int:
    return g()
