from __future__ import annotations

import toy.a
from toy.a import f


def main() -> int:
    print(f())
    return 0
