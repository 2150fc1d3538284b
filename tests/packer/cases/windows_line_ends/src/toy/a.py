from __future__ import annotations

TEXT = '''one
two'''

LATER = 1
