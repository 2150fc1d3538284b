from __future__ import annotations

TABLE = {}
TABLE['a'] = 1
for name in 'ab':
    TABLE[name] = 2
TABLE |= {'c': 3}
assert TABLE
'text that is no docstring'
if TABLE:
    X = 1
A = 1; B = 2


def f() -> object:
    return TABLE, A, B
