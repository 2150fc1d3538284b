from __future__ import annotations, generator_stop

from toy.a import f


def main() -> int:
    return f()
