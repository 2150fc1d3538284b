"""All of it is in the first part."""

from __future__ import annotations

from toy.a import as_text


def greet(who: str) -> str:
    return as_text({"hello": who})
