from __future__ import annotations

from toy.a import BASE, SIZE

ORDER = tuple(sorted({"b": BASE, "a": SIZE}, key=lambda name, extra=BASE: (name, extra)))
