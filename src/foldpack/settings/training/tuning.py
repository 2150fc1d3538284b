"""What `foldpack tune` may change of a run: one of three kinds of range for each key."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel

TUNE_KINDS = ("range", "log", "choice")
Bounds = Annotated[list[int | float], Field(min_length=2, max_length=2)]


class DimensionConfig(StrictModel):
    """The values of one key: exactly one of the first three."""

    range: Bounds | None = None  # lowest and highest
    log: Bounds | None = None  # the same, on a logarithmic scale
    choice: Annotated[list[Any], Field(min_length=1)] | None = None  # any of these
    step: Annotated[int | float, Field(gt=0)] | None = None  # range: only the lowest and so many steps up

    @model_validator(mode="after")
    def _one_kind(self) -> DimensionConfig:
        given = [name for name in TUNE_KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"write one of {', '.join(TUNE_KINDS)}, such as {{log: [1e-4, 1e-2]}}; got: "
                             f"{', '.join(given) or 'none'}")
        if self.step is not None and self.range is None:
            raise ValueError(f"step goes with range, not with {given[0]}")
        bounds = self.range or self.log
        if bounds and not bounds[0] < bounds[1]:
            raise ValueError(f"{given[0]} needs the lowest value first, then a higher one, got {bounds}")
        if self.log and self.log[0] <= 0:
            raise ValueError(f"log needs values above 0, got {self.log}")
        if self.choice is not None and any(one in self.choice[:at] for at, one in enumerate(self.choice)):
            raise ValueError(f"choice has a value twice: {self.choice}")
        return self
