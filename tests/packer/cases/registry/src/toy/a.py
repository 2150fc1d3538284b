from __future__ import annotations

from collections.abc import Callable


def small() -> str:
    return "S"


def large() -> str:
    return "L"


def forgotten() -> str:
    return "F"


MODELS: dict[str, Callable[[], str]] = {
    "small": small,
    "large": large,
}


def build(name: str) -> str:
    return MODELS[name]()
