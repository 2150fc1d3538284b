from __future__ import annotations

import asyncio

from toy.a import gather_all


def main() -> int:
    print(asyncio.run(gather_all(3)))
    return 0
