from __future__ import annotations

from toy.a import deep


def main() -> int:
    print(deep())
    return 0
