from __future__ import annotations

from toy.a import Circle, Square, describe


def main() -> int:
    for shape in (Circle(2), Square(3), [1, 2, 3], {"kind": "x", "rest": 1}, "go", 7, None):
        print(describe(shape))
    return 0
