from __future__ import annotations

from toy.a import NAME


def main() -> int:
    print(NAME)
    raise SystemExit("stopped: " + NAME)
