from __future__ import annotations

from toy.b import *
from math import *


def f() -> int:
    return 1
