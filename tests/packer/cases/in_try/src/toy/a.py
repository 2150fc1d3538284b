from __future__ import annotations

try:
    from toy.b import g
except ImportError:
    g = None


def f() -> int:
    return g()
