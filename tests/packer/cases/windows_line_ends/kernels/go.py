from __future__ import annotations

from toy.a import TEXT


def main() -> int:
    print(repr(TEXT))
    return 0
