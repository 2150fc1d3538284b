from __future__ import annotations

from toy.a import f


def main() -> int:
    print(f())
    return 0
