"""The blocks of docs/competitions.md: a whole competition.yml a shape."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs/competitions.md"
BLOCKS = dict(re.findall(r"<!-- shape: (\w+) -->.*?```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
