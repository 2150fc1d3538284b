from __future__ import annotations

from pathlib import Path


def f() -> str:
    return (Path(__file__).parent / 'data.txt').read_text() + __name__
