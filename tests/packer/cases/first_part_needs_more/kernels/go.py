from __future__ import annotations

from toy.a import count, shape


def begin(running: bool) -> int:
    return count() + shape()


def main() -> int:
    return 0
