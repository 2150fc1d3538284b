from __future__ import annotations

def make() -> int:
    return 1


MADE = make()


class Holder:
    made = make()


def f() -> object:
    return MADE, Holder
