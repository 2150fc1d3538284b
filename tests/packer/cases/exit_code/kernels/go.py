from __future__ import annotations

from toy.a import NAME


def main() -> int:
    print(NAME)
    return 3
