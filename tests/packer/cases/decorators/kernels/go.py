from __future__ import annotations

from toy.a import Point, counted, greet, stacked


@(
    # the expression stands on a later line
    counted
)
def twice(x: int) -> int:
    return x * 2


def main() -> int:
    print(greet("x"), greet.__name__, stacked(3), twice(4), twice.__name__, Point.made)
    return 0
