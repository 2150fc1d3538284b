from __future__ import annotations

from toy.a import Movie, Pair, Stack, Supports, UserId, close_all


def main() -> int:
    stack: Stack[int] = Stack()
    stack.push(3)
    movie: Movie = {"name": "x", "year": 1}
    print(stack.items, movie, Pair(1, "b"), Pair(1, "b")._asdict(), UserId(5), isinstance(stack, Supports), close_all(stack))
    print(Movie.__annotations__.keys(), isinstance(3, int | str))
    return 0
