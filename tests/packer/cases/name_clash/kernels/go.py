from __future__ import annotations

from toy.a import f
from toy.b import helper


def main() -> int:
    print(f())
    return 0
