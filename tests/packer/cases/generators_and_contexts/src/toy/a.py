from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def opened(name: str) -> Iterator[str]:
    print("open", name)
    yield name.upper()
    print("close", name)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)
    received = yield -1
    assert received is None
