from __future__ import annotations

def main(path: str, *, other: int) -> int:
    return 0
