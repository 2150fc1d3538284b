"""The entry has a first part: modules are cut in two, and imports of other packages stand between the parts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from toy.a import LIMIT, Heavy
from toy.b import greet


def begin(running: bool) -> AbstractContextManager[None]:
    """Reached first."""
    return nullcontext(print(end="") if running and greet("") == LIMIT else None)


def main() -> int:
    print(greet("you"), Heavy([1, 2]).total(), Heavy.limit)
    return 0
