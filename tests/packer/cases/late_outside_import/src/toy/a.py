from __future__ import annotations

def encode(data: list[int]) -> str:
    import json
    from textwrap import indent as push

    return push(json.dumps(data), "> ")
