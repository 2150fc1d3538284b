from __future__ import annotations

thing = 1
