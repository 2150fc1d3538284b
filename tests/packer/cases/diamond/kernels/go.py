from __future__ import annotations

from toy.a import left
from toy.b import right


def main() -> int:
    print(left(), right())
    return 0
