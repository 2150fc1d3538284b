from __future__ import annotations

def helper() -> int:
    return 1
