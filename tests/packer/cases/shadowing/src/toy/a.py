from __future__ import annotations

value = 10


def total(items: list[int]) -> int:
    scale = 2
    return sum(item * scale for item in items)


def scale() -> int:
    return 3
