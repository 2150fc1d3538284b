from __future__ import annotations

def f(:
    pass
