from __future__ import annotations

from toy.a import f
from toy.b import g
from toy.room.c import data


def main() -> int:
    print(f())
    return 0
