from __future__ import annotations

from toy.a import bump, read


def main() -> int:
    bump()
    bump()
    print(read())
    return 0
