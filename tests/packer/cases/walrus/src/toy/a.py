from __future__ import annotations

LIMIT = 4
SQUARES = [last_square := number * number for number in range(3)] + [last_square]


def first_over(numbers: list[int]) -> int | None:
    while numbers and (number := numbers.pop(0)) <= LIMIT:
        pass
    return number if any((hit := each) > LIMIT for each in [number]) and hit else None
