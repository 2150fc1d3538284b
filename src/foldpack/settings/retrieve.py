"""How a query is compared with a gallery: of runs of task `embed`, and of the members of their ensembles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.outputs import ScoreBlend
from foldpack.settings.strict_model import StrictModel


class Rerank(StrictModel):
    """k-reciprocal re-ranking: `ensemble.retrieve.rerank`."""

    k1: Annotated[int, Field(ge=1)] = 20  # nearest items, of one another, that are an item's neighbourhood
    k2: Annotated[int, Field(ge=1)] = 6  # nearest items, the item among them, whose neighbourhoods are averaged
    own: Annotated[float, Field(ge=0, le=1)] = 0.3  # share of the distance of vectors; the rest is of neighbourhoods


class Calibration(StrictModel):
    """From scores that only rank to scores that mean the same of every member: `ensemble.retrieve.calibrate`."""

    kind: Literal["softmax", "sigmoid"]  # over the identities of a query; or of each score alone
    scale: Annotated[float, Field(gt=0)]  # what scores are multiplied with: the inverse of a temperature
    shift: float = 0.0  # sigmoid: the score that is as likely right as wrong

    @model_validator(mode="after")
    def _shift_is_read(self) -> Calibration:
        if self.kind == "softmax" and self.shift:
            raise ValueError("calibration 'softmax' does not read shift; leave it out")
        return self


class Retrieval(StrictModel):
    """How near a query is to every identity of a gallery: `ensemble.retrieve.retriever`."""

    neighbours: Annotated[int, Field(ge=1)] = 1  # nearest gallery items of an identity that count
    softmax: Annotated[float, Field(gt=0)] | None = None  # temperature of their weights; None: all weigh the same
    centres: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of the score that is the cosine with the identity's mean
    expand_query: Annotated[int, Field(ge=0)] = 0  # nearest gallery items that are added to a query
    expand_gallery: Annotated[int, Field(ge=0)] = 0  # nearest other items that are added to each item of the gallery
    alpha: Annotated[float, Field(ge=0)] = 3.0  # what is added weighs its cosine to this power
    rerank: Rerank | None = None  # None: nearest by cosine
    calibration: Calibration | None = None  # None: (1 + cosine) / 2

    @model_validator(mode="after")
    def _all_is_read(self) -> Retrieval:
        if self.softmax is not None and self.neighbours == 1:
            raise ValueError("softmax weighs several neighbours, and neighbours is 1; leave softmax out")
        if self.alpha != 3.0 and not (self.expand_query or self.expand_gallery):
            raise ValueError("alpha is read by expand_query and expand_gallery, and both are 0; leave it out")
        return self


class Neighbours(ScoreBlend):
    """Fuse: the scores of identities by each checkpoint's own gallery, then a blend of them."""

    kind: Literal["neighbours"] = "neighbours"  # type: ignore[assignment]
    neighbours: Annotated[int, Field(ge=1)] = 1  # of members that do not say how: nearest gallery items that count
