from __future__ import annotations

from toy.a import \
    JOINED, \
    TOTAL


def main() -> int:
    print(JOINED, TOTAL)  # comment that ends with a backslash \
    return 0
