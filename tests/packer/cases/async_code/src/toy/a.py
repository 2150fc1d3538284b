from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


class Gate:
    async def __aenter__(self) -> int:
        return 1

    async def __aexit__(self, *failure: object) -> None:
        pass


async def one(number: int) -> int:
    async with Gate() as gate:
        return number + gate


async def gather_all(count: int) -> list[int]:
    return list(await asyncio.gather(*[one(number) async for number in numbers(count)]))
