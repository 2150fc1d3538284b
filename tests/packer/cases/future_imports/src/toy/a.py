# licence: MIT
"""Doc of a."""

from __future__ import annotations


def late(x: Undefined1 | None) -> Later:
    return Later()


class Later:
    pass


Undefined1 = int
