from __future__ import annotations

SPEC = {}


class PackedTracebacks:
    pass


def f() -> object:
    return SPEC, PackedTracebacks


__version__ = '1'
