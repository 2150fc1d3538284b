from __future__ import annotations

G = 1
