from __future__ import annotations

WIDTH = 8


def label(name: str) -> str:
    return f"<{name}>"
