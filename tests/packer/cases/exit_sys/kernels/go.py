from __future__ import annotations

import sys

from toy.a import NAME


def main() -> int:
    print(NAME)
    sys.exit(4)
