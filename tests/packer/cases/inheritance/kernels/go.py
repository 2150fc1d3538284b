from __future__ import annotations

from toy.a import Child
from toy.room.c import Level


def main() -> int:
    child = Child("x")
    print(child.speak(), [type(each).__name__ for each in (child, Level.HIGH)], [cls.__name__ for cls in Child.__mro__])
    print(list(Level), Level(2))
    return 0
