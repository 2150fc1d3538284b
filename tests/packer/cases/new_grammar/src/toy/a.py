from __future__ import annotations

def f() -> int:
    try:
        return 1
    except* ValueError:
        pass
