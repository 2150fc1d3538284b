from __future__ import annotations

from typing import Annotated, Literal, TypeVar, cast

from toy.b import Deep, Hidden, Quoted, Unnamed

T = TypeVar("T", bound="Bound")


class Bound:
    pass


class Cast:
    pass


def use(x: Hidden, y: "Quoted") -> Deep:
    return cast("Cast", x)


class Box:
    kind: Literal["Unnamed", "b"]
    size: Annotated[int, "Unnamed"]
    self_type: "Box"
    item: T


def not_used() -> Unnamed:
    return Unnamed()
