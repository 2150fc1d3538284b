from __future__ import annotations

from toy.a import risky
from toy.b import BaseTrouble


def main() -> int:
    try:
        risky()
    except BaseTrouble as trouble:
        print(type(trouble).__name__, trouble, repr(trouble.__cause__))
    return 0
