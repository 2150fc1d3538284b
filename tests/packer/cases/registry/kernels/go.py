from __future__ import annotations

from toy.a import MODELS, build


def main() -> int:
    print(build("small"), build("large"), sorted(MODELS))
    return 0
