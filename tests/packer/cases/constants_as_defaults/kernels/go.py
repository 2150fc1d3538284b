from __future__ import annotations

from toy.a import SIZE, area
from toy.b import ORDER

WIDTH = SIZE * 2


def main(width: int = WIDTH) -> int:
    print(width, area(), area(side=SIZE), ORDER)
    return 0
