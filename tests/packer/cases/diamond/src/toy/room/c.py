from __future__ import annotations

def shared() -> str:
    return 'shared'
