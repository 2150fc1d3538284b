from __future__ import annotations

FIRST, *REST = 1, 2, 3
(LEFT, [RIGHT]) = 4, [5]
CHAIN = LINK = FIRST
