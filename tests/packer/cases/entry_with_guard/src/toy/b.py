from __future__ import annotations

def only_in_guard() -> None:
    raise AssertionError
