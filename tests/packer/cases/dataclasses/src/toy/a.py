from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import ClassVar

from toy.b import Colour


@dataclass(order=True)
class Base:
    count: ClassVar[int] = 7
    id: int


@dataclass(order=True)
class Job(Base):
    colour: Colour
    tags: list[str] = field(default_factory=list, compare=False)
    extra: InitVar[int] = 0

    def __post_init__(self, extra: int) -> None:
        self.tags.append(f"extra{extra}")
