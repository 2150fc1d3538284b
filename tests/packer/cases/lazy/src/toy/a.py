from __future__ import annotations

def f() -> int:
    from toy.b import g

    return g()
