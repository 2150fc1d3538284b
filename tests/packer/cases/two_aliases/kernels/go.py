from __future__ import annotations

from toy.a import f
from toy.b import g


def main() -> int:
    print(f())
    return 0
