from __future__ import annotations

def local(total: int = 1) -> int:
    def value() -> int:
        return total

    for helper in range(2):
        total += helper
    return value()


def helper() -> None:
    raise AssertionError
