"""Which training items an epoch has, and how much each counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel

SAMPLERS_READING = {"least": "per_class", "most": "per_class", "column": "weighted", "m": "m_per_class"}


class SamplerConfig(StrictModel):
    """Which items an epoch has. Those of `per_class`, `balanced` and `m_per_class` go by class."""

    kind: Literal["shuffled", "per_class", "balanced", "weighted", "m_per_class"] = "shuffled"
    least: Annotated[int, Field(ge=1)] | None = None  # per_class: items of smaller classes are repeated up to it
    most: Annotated[int, Field(ge=1)] | None = None  # per_class: so many of larger classes, others in each epoch
    column: str | None = None  # weighted: a number an item, which it is drawn in proportion to
    m: Annotated[int, Field(ge=2)] | None = None  # m_per_class: items of each class that a batch has

    @model_validator(mode="after")
    def _the_kind_reads_it(self) -> SamplerConfig:
        for name, kind in SAMPLERS_READING.items():
            if getattr(self, name) is not None and self.kind != kind:
                raise ValueError(f"sampler '{self.kind}' does not read {name}; it is read by {kind}")
        needed = [name for name, kind in SAMPLERS_READING.items() if kind == self.kind]
        if needed and all(getattr(self, name) is None for name in needed):
            raise ValueError(f"sampler '{self.kind}' needs {' or '.join(needed)}")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"sampler.least {self.least} is above sampler.most {self.most}")
        return self


class WeightsConfig(StrictModel):
    """How much the loss of each training item counts."""

    kind: Literal["none", "balanced", "column"] = "none"  # balanced: all classes together the same
    column: str | None = None  # of the training table: a number an item, 0 or more

    @model_validator(mode="after")
    def _the_kind_reads_it(self) -> WeightsConfig:
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("weights 'column' needs column, the name of one" if self.kind == "column" else
                             f"weights '{self.kind}' does not read column; it is read by column")
        return self
