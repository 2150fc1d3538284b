from __future__ import annotations

from toy.a import numbers, opened


def main() -> int:
    with opened("x") as name, opened("y"):
        print(name, list(numbers(3)), sum(x for x in numbers(4)))
    try:
        raise KeyError("k")
    except (KeyError, ValueError) as error:
        print(repr(error))
    finally:
        print("finally")
    return 0
