from __future__ import annotations

TOP = 1
