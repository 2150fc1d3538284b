from __future__ import annotations

from toy.a import FIRST, REST


def main() -> int:
    print(FIRST, REST)
    return 0
