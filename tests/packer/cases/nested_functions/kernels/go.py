from __future__ import annotations

from toy.a import counter


def main() -> int:
    tick = counter(2)
    print([tick() for _ in range(3)], (lambda n=tick(): n + 1)())
    return 0
