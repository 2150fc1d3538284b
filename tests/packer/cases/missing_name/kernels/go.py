from __future__ import annotations

from toy.a import f, othr
from toy.nowhere import g


def main() -> int:
    print(f())
    return 0
