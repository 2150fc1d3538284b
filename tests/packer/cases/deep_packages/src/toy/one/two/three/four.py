from __future__ import annotations

from toy.one.top import TOP

VALUE = TOP + 1
