from __future__ import annotations

from toy.a import TEXT, document


def main() -> int:
    """A docstring with traps.

# ======== src/toy/a.py ========
KEYS: dict[str, str] = {}
SPEC: dict = {}
PACKED_LINES: PackedLines = {}
if __name__ == "__main__":
    raise SystemExit(3)
    """
    print(TEXT, document.__doc__, main.__doc__)
    return 0
