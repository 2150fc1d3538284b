from __future__ import annotations

import typing

from toy.a import Box, use


def main() -> int:
    print(sorted(typing.get_type_hints(use)), [hint.__name__ for hint in typing.get_type_hints(use).values()])
    print({name: str(hint).split(".")[-1] for name, hint in typing.get_type_hints(Box).items()})
    return 0
