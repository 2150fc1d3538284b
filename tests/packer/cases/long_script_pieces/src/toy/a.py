from __future__ import annotations

KEPT_0 = 0
LEFT_0 = 0
KEPT_1 = 1
LEFT_1 = 1
KEPT_2 = 2
LEFT_2 = 2
KEPT_3 = 3
LEFT_3 = 3
KEPT_4 = 4
LEFT_4 = 4
KEPT_5 = 5
LEFT_5 = 5
