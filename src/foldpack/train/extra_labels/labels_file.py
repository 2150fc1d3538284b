"""What networks say of items, and who said it: a safetensors file whose metadata has the checkpoints by fold.

    predictions of items "test", "train"   fold<k> (n, C) float32: what models of fold k say; of values spread<k> too
    predictions of items "oof"             oof (n, C) float32: of each item what the models of its own fold say
    labels "pseudo"                        rows<k> (m,) int64, labels<k> (m, C) float32, weights<k> (m,) float32
    labels "complete"                      rows<k> (m,) int64, classes<k> (m,) int64; of items "oof" rows, classes

n: the ids, m: those that were chosen; C: probabilities, or values.

Fold-safe is what fold k learns from models of fold k alone: they never saw an item of fold k, and no model that saw one
has a word in it. Decided in docs/decisions/0050-labels-of-other-runs.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open

from foldpack.errors import DataError
from foldpack.models.checkpoint import METADATA_KEY, write_tensors
from foldpack.settings.stages import HexDigest
from foldpack.settings.strict_model import StrictModel, parse_strict

Content = Literal["predictions", "pseudo", "complete"]
MADE_BY = {"predictions": "foldpack predict", "pseudo": "foldpack pseudo", "complete": "foldpack complete"}
OOF_DOUBT = ("out-of-fold predictions of other folds' items come from models that learned from the items of the fold "
             "that is scored")


class Maker(StrictModel):
    """A checkpoint that had a word in it. fold: as the checkpoint says."""

    run: str
    fold: Annotated[int, Field(ge=0)]
    sha256: HexDigest
    weight: float  # of its run in the blend


class FoldMakers(StrictModel):
    """Who made what a fold learns; of out-of-fold predictions, what is said of its items."""

    fold: Annotated[int, Field(ge=0)]
    makers: Annotated[list[Maker], Field(min_length=1)]


class LabelsInfo(StrictModel):
    """The metadata of such a file."""

    version: Literal[1] = 1
    content: Content
    items: Literal["test", "train", "oof"]
    competition: str
    task: Literal["multiclass", "multilabel", "regress"]
    classes: list[str]  # or columns of values
    folds_sha256: HexDigest  # of the folds.csv that the models were trained on
    ids: list[str]  # of all items
    lost: list[int] = []  # rows without pixels: nothing is said of them
    made: Annotated[list[FoldMakers], Field(min_length=1)]
    high: float | None = None  # pseudo, of several labels: from this probability on a class counts as there
    doubts: list[str] = []  # why out-of-fold scores of whoever learns from it may be too good

    @property
    def folds(self) -> list[int]:
        """The folds that can learn from it; of out-of-fold predictions those that are predicted."""
        return [each.fold for each in self.made]


def write_labels(path: Path, info: LabelsInfo, arrays: dict[str, np.ndarray]) -> None:
    """Write it atomically."""
    write_tensors(path, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()},
                  json.dumps(info.model_dump(mode="json"), sort_keys=True))


def read_labels(path: Path, *contents: Content) -> LabelsInfo:
    """What a file says of itself, which must be one of `contents`. Raises DataError for others, and for one in which a
    fold would learn from models of other folds."""
    commands = ", ".join(f"`{MADE_BY[content]}`" for content in contents)
    try:
        with safe_open(path, framework="np") as file:
            data = json.loads((file.metadata() or {}).get(METADATA_KEY, "null"))
    except (OSError, SafetensorError, ValueError) as failure:
        raise DataError(f"{path}: cannot read it ({failure}); needed: a file of {commands}") from None
    if not isinstance(data, dict) or "content" not in data:
        raise DataError(f"{path}: it has no labels; needed: a file of {commands}")
    info = parse_strict(LabelsInfo, data, path, DataError)
    if info.content not in contents:
        raise DataError(f"{path}: it is a file of `{MADE_BY[info.content]}`; needed: one of {commands}")
    for each in info.made:
        for maker in each.makers:
            if maker.fold != each.fold:
                raise DataError(f"{path}: what fold {each.fold} would learn was made by run '{maker.run}' fold "
                                f"{maker.fold}, which has learned from the items of fold {each.fold}; make it again "
                                "with `foldpack predict`, which asks each fold's own models")
    return info


def read_tensor(path: Path, name: str) -> np.ndarray:
    """One tensor of the file. Raises DataError."""
    try:
        with safe_open(path, framework="np") as file:
            found: np.ndarray = file.get_tensor(name)
            return found
    except (OSError, SafetensorError) as failure:
        raise DataError(f"{path}: cannot read '{name}' ({failure}); make the file again") from None
