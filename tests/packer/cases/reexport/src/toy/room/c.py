from __future__ import annotations

def deep() -> str:
    return 'deep'
