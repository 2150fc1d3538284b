from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toy.b import G


def f(x: G | None = None) -> int:
    return 1
