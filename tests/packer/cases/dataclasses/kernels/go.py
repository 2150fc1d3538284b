from __future__ import annotations

import dataclasses

from toy.a import Base, Job
from toy.b import Colour


def main() -> int:
    job = Job(1, Colour("red"), extra=3)
    print(job, Job(2, Colour("a")) > Job(1, Colour("b")), dataclasses.asdict(job))
    print([(field.name, field.type) for field in dataclasses.fields(Job)], isinstance(job, Base))
    return 0
