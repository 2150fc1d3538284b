from __future__ import annotations

import math


def f(name: str = 'pi') -> float:
    setattr(math, f'{name}2', 1)
    return getattr(math, name) + getattr(math, 'e')
