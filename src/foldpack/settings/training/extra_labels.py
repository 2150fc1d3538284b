"""What a run learns from other runs: their labels of other items, their predictions, or their weights.

Each is a file or a folder, seen from the project. What it holds is settled before training: its SHA-256 decides.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foldpack.settings.network import WeightsOrigin
from foldpack.settings.strict_model import StrictModel

HexSha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PseudoConfig(StrictModel):
    """Test items with labels that networks gave them, as `foldpack pseudo` writes them."""

    file: str
    weight: Annotated[float, Field(gt=0)] = 1.0  # what the loss of such an item is multiplied with
    labels: Literal["hard", "soft"] = "hard"  # soft: the probabilities themselves
    sha256: HexSha256 | None = None  # filled in before training


class CompleteConfig(StrictModel):
    """Labels that training items lack, as `foldpack complete` writes them."""

    file: str
    sha256: HexSha256 | None = None  # filled in before training


class DistillConfig(StrictModel):
    """What a teacher says of the training items, as `foldpack predict` writes it (arXiv 1503.02531)."""

    file: str
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5  # of the teacher's term; the labels' term has the rest
    temperature: Annotated[float, Field(gt=0)] = 1.0  # both say less surely at more
    sha256: HexSha256 | None = None  # filled in before training


class BeginConfig(StrictModel):
    """A finished run, of which fold k gives its whole weights, head too, to fold k."""

    folder: str
    sha256: HexSha256 | None = None  # of its folds' weights; filled in before training, as is `start`
    start: WeightsOrigin | None = None  # whose weights that run began with


EXTRA_BLOCKS = ("pseudo", "complete", "distill", "begin")  # keys of a run; where each lies does not decide its weights
EXTRA_PLACES = ("file", "folder", "start")
