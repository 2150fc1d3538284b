from __future__ import annotations

def g() -> int:
    return 1
