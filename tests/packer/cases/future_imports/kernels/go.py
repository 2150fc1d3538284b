"""Entry."""

# A comment above.
from __future__ import annotations

from toy.a import late


def main() -> int:
    print(late.__annotations__)
    return 0
