from __future__ import annotations

from toy.a import shown


def main() -> int:
    print(shown())
    return 0
