from __future__ import annotations

from typing import Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar, runtime_checkable

T = TypeVar("T")
UserId = NewType("UserId", int)


class Movie(TypedDict, total=False):
    name: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


@runtime_checkable
class Supports(Protocol):
    def push(self, item: int) -> None: ...


class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []

    def push(self, item: T) -> None:
        self.items.append(item)


def close_all(first: Supports, /, *others: Supports, sep: str = ",", **named: Supports) -> str:
    return sep.join(type(each).__name__ for each in (first, *others, *named.values()))
