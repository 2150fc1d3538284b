from __future__ import annotations

from toy.a import Circle


def main() -> int:
    circle = Circle(2)
    circle.radius = 3
    del circle.radius
    print(circle.radius, circle.area, Circle.unit().radius, Circle.name())
    return 0
