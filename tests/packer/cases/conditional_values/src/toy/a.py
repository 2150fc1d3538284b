from __future__ import annotations

import re
import sys

PATTERN = re.compile(r"[a-z]+")
CHOSEN = "new" if sys.version_info >= (3, 8) and PATTERN.match("a") else "old"
TABLE = {name: len(name) for name in sorted({"bb", "a"})} | {**{"c": 3}}
