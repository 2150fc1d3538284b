from __future__ import annotations

import functools
from collections.abc import Callable
from functools import lru_cache, wraps


def counted(function: Callable) -> Callable:
    @functools.wraps(function)
    def inner(*args: object, **kwargs: object) -> object:
        return (function.__name__, function(*args, **kwargs))

    return inner


def tagged(tag: str) -> Callable:
    def wrap(function: Callable) -> Callable:
        @wraps(function)
        def inner(*args: object) -> object:
            return f"<{tag}>{function(*args)}</{tag}>"

        return inner

    return wrap


def stamp(cls: type) -> type:
    cls.made = "yes"
    return cls


@tagged("b")
@tagged(
    "i"
)
def greet(name: str) -> str:
    return name


@counted
@lru_cache(maxsize=None)
def stacked(x: int) -> int:
    return x + 1


@stamp
class Point:
    made = "no"
