from __future__ import annotations

from functools import cached_property


class Circle:
    def __init__(self, radius: int) -> None:
        self._radius = radius

    @property
    def radius(self) -> int:
        return self._radius

    @radius.setter
    def radius(self, value: int) -> None:
        self._radius = value

    @radius.deleter
    def radius(self) -> None:
        self._radius = 0

    @cached_property
    def area(self) -> int:
        return self._radius**2

    @classmethod
    def unit(cls) -> Circle:
        return cls(1)

    @staticmethod
    def name() -> str:
        return "circle"
