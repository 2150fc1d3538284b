from __future__ import annotations

SCALE = 10
