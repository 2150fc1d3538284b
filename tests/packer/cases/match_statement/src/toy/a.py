from __future__ import annotations

from dataclasses import dataclass

from toy.b import Names


@dataclass
class Circle:
    radius: int


@dataclass
class Square:
    side: int


def describe(shape: object) -> str:
    match shape:
        case Circle(radius=r) if r > 1:
            return f"circle {r}"
        case Square() as square:
            return f"square {square.side}"
        case [first, *others]:
            return f"list {first} {others}"
        case {"kind": kind, **rest}:
            return f"dict {kind} {rest}"
        case Names.GO | "run":
            return "go"
        case int(number):
            return f"int {number}"
        case _:
            return "other"


def rest() -> None:
    raise AssertionError
