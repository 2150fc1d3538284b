from __future__ import annotations

from dataclasses import dataclass

from toy.b import SCALE


@dataclass(frozen=True)
class Task:
    number: int


def work(task: Task) -> Task:
    return Task(task.number * SCALE)
