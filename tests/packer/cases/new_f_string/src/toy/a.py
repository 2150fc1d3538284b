from __future__ import annotations

def f() -> str:
    return f'{'a' + 'b'}'
