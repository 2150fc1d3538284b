"""Members of an ensemble that are files: predictions that anyone made, blended by `foldpack blend`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel


class FileMember(StrictModel):
    """Someone's predictions inside the ensemble. sha256: of the file, or of the digests of its folds' files."""

    name: str
    weight: float  # below 0 only where signed weights were asked for
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scores: Literal["probability", "logit", "value"] | None = None  # what its numbers are; None: told by their range
    temperature: Annotated[float, Field(gt=0)] = 1.0  # its log-odds are divided by it, where only their order counts
    column: str | None = None  # of predictions with one number an item: what its file calls them


class FilesSpec(StrictModel):
    """Members that are files, and what these call their columns."""

    members: Annotated[list[FileMember], Field(min_length=1)]
    id_column: str | None = None
    label_column: str | None = None  # of the labels' file

    @model_validator(mode="after")
    def _weights_sum(self) -> FilesSpec:
        if abs(sum(member.weight for member in self.members)) < 1e-9:
            raise ValueError("the weights of the members sum to 0")
        return self
