from __future__ import annotations

from toy.a import total, value
from toy.b import local


def main() -> int:
    value_ = value
    total_ = [value for value in range(3)]
    print(total([1, 2]), value, value_, total_, local(5), local())
    return 0
