from __future__ import annotations

def helper() -> int:
    return 2


_LOG = 2
