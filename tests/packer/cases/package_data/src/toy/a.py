from __future__ import annotations

from importlib import resources


def f() -> str:
    return resources.files('toy').joinpath('data.txt').read_text()
