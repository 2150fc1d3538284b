from __future__ import annotations

size = 5
items = (1, 2)
method = "module level method"


class Holder:
    size = size
    items = [item * 2 for item in items]
    pairs = {key: value for key, value in zip("ab", items)}

    class Inner:
        size = size

    def method(self) -> tuple[int, str]:
        return size, method

    def __private(self) -> int:
        return 1
