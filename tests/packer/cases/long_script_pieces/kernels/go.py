from __future__ import annotations

from toy.a import KEPT_0, KEPT_1, KEPT_2, KEPT_3, KEPT_4, KEPT_5


def main() -> int:
    print(KEPT_0, KEPT_1, KEPT_2, KEPT_3, KEPT_4, KEPT_5)
    return 0
