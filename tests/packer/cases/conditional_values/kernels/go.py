from __future__ import annotations

from toy.a import CHOSEN, TABLE


def main() -> int:
    print(CHOSEN, TABLE)
    return 0
