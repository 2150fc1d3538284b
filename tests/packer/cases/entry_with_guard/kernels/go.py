from __future__ import annotations

import sys

from toy.a import NAME
from toy.b import only_in_guard


def main(argv: list[str] | None = None) -> int:
    print(NAME, argv)
    return 0


if __name__ == "__main__":
    only_in_guard()
    sys.exit(main(sys.argv))
