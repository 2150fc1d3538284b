from __future__ import annotations

from toy.a import WIDTH, label


def main() -> int:
    values = {"a": 1.23456}
    print(f"{label('x'):>{WIDTH}} {values['a']:.{WIDTH - 5}f} {WIDTH=} {{literal}} {'yes' if values else f'{WIDTH!r}'}")
    return 0
