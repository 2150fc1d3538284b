from __future__ import annotations

from .b import g
from . import b


def f() -> int:
    return g() + b.h()
