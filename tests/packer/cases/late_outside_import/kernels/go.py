from __future__ import annotations

from toy.a import encode


def main() -> int:
    print(encode([1]))
    return 0
