from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toy.b import Member

Name = Annotated[str, Field(min_length=1)]


class Ensemble(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    members: list[Member]
    kind: Literal["blend", "stack"]
    parent: Ensemble | None = None

    @field_validator("name")
    @classmethod
    def check_name(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def check_members(self) -> Ensemble:
        return self
