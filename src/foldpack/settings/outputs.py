"""What the networks of a stage give: named columns, or boxes that a later stage takes as its items."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel


class NamedOutputs(StrictModel):
    """Outputs of a column each, and what is known of an item before it was seen."""

    kind: str
    link: str  # what becomes of a network's numbers
    names: list[str]  # column order of every table of predictions; empty: of files that had none
    prior: list[float]  # of each column, from the training labels; answers for a broken image; empty: of old files

    @model_validator(mode="after")
    def _columns_fit(self) -> NamedOutputs:
        if self.prior and len(self.prior) != len(self.names):
            raise ValueError(f"prior has {len(self.prior)} numbers for {len(self.names)} names")
        if len(set(self.names)) != len(self.names):
            raise ValueError("a name stands there twice")
        return self


class Boxes(NamedOutputs):
    """Outputs: boxes in an image, each with a score and a label. The prior is the share of each label."""

    kind: Literal["boxes"] = "boxes"
    link: Literal["boxes"] = "boxes"
    most: Annotated[int, Field(ge=1)] = 1000  # boxes of an image that a unit may keep

    @property
    def exclusive(self) -> bool:
        """Whether one column an item is right: a box has one label."""
        return True


class BoxUnion(StrictModel):
    """Fuse: all boxes of all units; of those that overlap by more than `nms`, a label at a time, the best score."""

    kind: Literal["boxes"] = "boxes"
    nms: Annotated[float, Field(gt=0, le=1)] = 0.5  # intersection over union


class HandOnDecision(StrictModel):
    """Decision: the boxes are the items of a later stage."""

    kind: Literal["hand_on"] = "hand_on"
    min_score: float = 0.0  # of a box
    most: Annotated[int, Field(ge=1)] = 1000  # boxes of an image, the best ones
