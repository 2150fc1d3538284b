from __future__ import annotations

from toy.one.two.three.four import VALUE


def main() -> int:
    print(VALUE)
    return 0
