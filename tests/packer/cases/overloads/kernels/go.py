from __future__ import annotations

from toy.a import parse


def main() -> int:
    print(parse(1), parse("2"))
    return 0
