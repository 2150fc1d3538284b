from __future__ import annotations

DROPPED = 1 + \
    2 \


JOINED = "a\
b" \
    "c"
BETWEEN = 5 # a comment \
TOTAL = \
    len(JOINED) \

