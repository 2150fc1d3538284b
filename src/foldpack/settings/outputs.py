"""What the networks of a stage give: named columns, or boxes that a later stage takes as its items; how it is fused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from foldpack.settings.strict_model import StrictModel


def check_range(limits: list[float]) -> list[float]:
    """For settings: lowest and highest themselves. Raises ValueError where they do not ascend."""
    if not limits[0] < limits[1]:
        raise ValueError(f"range {limits} does not ascend; write [lowest, highest]")
    return limits


ValueRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(check_range)]


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


class Classes(NamedOutputs):
    """Outputs: a probability of each class. The prior is the share of each class, [0, 1]."""

    kind: Literal["classes"] = "classes"
    link: Literal["softmax", "sigmoid"]  # softmax: one class an item is right; sigmoid: any number of them

    @property
    def exclusive(self) -> bool:
        """Whether one class an item is right."""
        return self.link == "softmax"


class Values(NamedOutputs):
    """Outputs: real values. The prior is the mean of each."""

    kind: Literal["values"] = "values"
    link: Literal["identity"] = "identity"

    @property
    def exclusive(self) -> bool:
        """Whether one column an item is right: values stand for themselves."""
        return False


class Vectors(NamedOutputs):
    """Outputs: embeddings, which a gallery turns into a score of each identity. The prior is the share of each."""

    kind: Literal["vectors"] = "vectors"
    link: Literal["softmax"] = "softmax"  # one identity an item is right
    dim: Annotated[int, Field(ge=2)]  # numbers of a vector
    none: bool = False  # the last class is no identity: it stands for items that are like no other

    @property
    def exclusive(self) -> bool:
        """Whether one class an item is right: always."""
        return True


class ScoreBlend(StrictModel):
    """Fuse: a weighted sum of the members' probabilities. What is summed, and what becomes of it: `ensemble.spaces`."""

    kind: Literal["scores"] = "scores"
    space: Literal["probability", "logit", "geometric", "rank", "power", "linear"] = "probability"
    power: Annotated[float, Field(gt=0)] = 1.0  # of "power"
    scale: float = 1.0  # of "logit": the inverse temperature of the sum; of "linear": below 0 with weights of any sign
    bias: float = 0.0  # of "logit" where labels are decided apart, and of "linear"


class BoxUnion(StrictModel):
    """Fuse: all boxes of all units; of those that overlap by more than `nms`, a label at a time, the best score."""

    kind: Literal["boxes"] = "boxes"
    nms: Annotated[float, Field(gt=0, le=1)] = 0.5  # intersection over union


class HandOnDecision(StrictModel):
    """Decision: the boxes are the items of a later stage."""

    kind: Literal["hand_on"] = "hand_on"
    min_score: float = 0.0  # of a box
    most: Annotated[int, Field(ge=1)] = 1000  # boxes of an image, the best ones
