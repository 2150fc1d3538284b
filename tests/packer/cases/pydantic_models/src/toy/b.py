from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Weight = Annotated[float, Field(ge=0)]


class Member(BaseModel):
    run: Annotated[str, Field(min_length=1)]
    weight: Weight = 1.0
