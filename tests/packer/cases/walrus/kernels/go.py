from __future__ import annotations

from toy.a import LIMIT, SQUARES, first_over


def main() -> int:
    if (found := first_over([1, 5, 9])) is not None:
        print(found, LIMIT, SQUARES, LAST)
    return 0


PAIR = (LAST := 4, LAST + 1)
