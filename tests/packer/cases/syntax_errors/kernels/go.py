from __future__ import annotations

from toy.a import f
from toy.b import g
from toy.c import h, missing


def main() -> int:
    print(f())
    return 0
