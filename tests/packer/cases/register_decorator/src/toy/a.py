from __future__ import annotations

import atexit
from collections.abc import Callable

REGISTRY = {}


def register(function: Callable) -> Callable:
    REGISTRY[function.__name__] = function
    return function


def noted(function: Callable) -> Callable:
    REGISTRY.setdefault(function.__name__, function)
    return function


class Registry:
    def add(self, function: Callable) -> Callable:
        return function


MODELS = Registry()


@register
def one() -> int:
    return 1


@noted
def two() -> int:
    return 2


@MODELS.add
def three() -> int:
    return 3


@atexit.register
def four() -> int:
    return 4


def f() -> object:
    return REGISTRY
