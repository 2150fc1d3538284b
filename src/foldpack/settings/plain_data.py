"""Plain data: all that a YAML file of ours, and the spec inside a script, may hold."""

from __future__ import annotations

import math
from collections.abc import Iterator

PLAIN_DEPTH = 32  # levels of lists and mappings
PLAIN_DIGITS = 100  # of a number
PLAIN_TOO_DEEP = f"nested deeper than {PLAIN_DEPTH} levels; make it flatter"


def plain_problems(data: object, place: str, depth: int = 0) -> Iterator[str]:
    """What is not plain about `data`, each text beginning with its place: `top.members[2]: a tuple cannot ...`.

    Plain are dicts with text keys, lists, whole text, ints, finite floats, bools and None, at most 32 levels deep.
    """
    if isinstance(data, (dict, list)) and depth >= PLAIN_DEPTH:
        yield f"{place}: {PLAIN_TOO_DEEP}"
    elif type(data) is dict:
        for key, value in data.items():
            if type(key) is not str:
                yield f"{place}: key {key!r} is a {type(key).__name__}; keys are text"
            else:
                yield from plain_problems(key, place)
                yield from plain_problems(value, f"{place}.{key}", depth + 1)
    elif type(data) is list:
        for number, value in enumerate(data):
            yield from plain_problems(value, f"{place}[{number}]", depth + 1)
    elif type(data) is str:
        if half := next((character for character in data if "\ud800" <= character <= "\udfff"), ""):
            yield f"{place}: text with half a surrogate pair (U+{ord(half):04X}) cannot be written; remove it"
    elif type(data) is float and not math.isfinite(data):
        yield f"{place}: {data} is not a finite number; leave it out or write null"
    elif type(data) is int and abs(data) >= 10**PLAIN_DIGITS:
        yield f"{place}: a number of {len(str(abs(data)))} digits; at most {PLAIN_DIGITS}"
    elif data is not None and type(data) not in (int, float, bool):
        yield f"{place}: a {type(data).__name__} cannot be written; use dict, list, text, number, bool or None"
