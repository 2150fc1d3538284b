from __future__ import annotations

from toy.a import Holder


def main() -> int:
    print(Holder.size, Holder.items, Holder.pairs, Holder().method(), Holder.Inner.size, Holder()._Holder__private())
    return 0
