"""What a run minimises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.errors import did_you_mean
from foldpack.settings.project_code import is_project_code
from foldpack.settings.strict_model import StrictModel

SUM = "sum"  # of the losses in `parts`
# What is learned -> the losses of it; `sum` is one of each.
LOSSES_OF_TASK: dict[str, tuple[str, ...]] = {
    "multiclass": ("cross_entropy", "focal"),
    "multilabel": ("bce", "asymmetric", "focal", "soft_f", "forgiving"),
    "regress": ("mse", "l1", "smooth_l1", "huber", "pinball", "cross_entropy", "ordinal", "qwk"),
    "embed": ("arcface", "sub_center_arcface", "cosface", "adacos", "cosine_softmax", "proxy_anchor", "triplet"),
}
LOSSES_OF_BINS = ("cross_entropy", "ordinal", "qwk")  # of regress: those that need `net.bins`
LOSSES = tuple(dict.fromkeys(name for names in LOSSES_OF_TASK.values() for name in names))
# Which losses read which of the settings that only some read.
LOSSES_READING: dict[str, tuple[str, ...]] = {
    "smoothing": ("cross_entropy", "bce"),
    "pos_weight": ("bce",),
    "gamma_neg": ("asymmetric",),
    "gamma_pos": ("asymmetric",),
    "gamma": ("focal",),
    "alpha": ("focal",),
    "beta": ("soft_f",),
    "forgiveness": ("forgiving",),
    "delta": ("smooth_l1", "huber"),
    "quantile": ("pinball",),
    "margin": ("arcface", "sub_center_arcface", "cosface", "proxy_anchor", "triplet"),
    "scale": ("arcface", "sub_center_arcface", "cosface", "cosine_softmax", "proxy_anchor"),
    "centers": ("sub_center_arcface",),
    "miner": ("triplet",),
    "memory": ("triplet",),
    "lr": ("arcface", "sub_center_arcface", "cosface", "adacos", "cosine_softmax", "proxy_anchor"),
}


class LossConfig(StrictModel):
    """One of LOSSES_OF_TASK, one of the project's own, `FILE.py:NAME`, or the `sum` of several."""

    name: str
    parts: dict[str, Annotated[float, Field(gt=0)]] = {}  # sum: loss -> its weight; what they read stands beside them
    kwargs: dict[str, str | int | float | bool | list[float]] = {}  # for a loss of the project's own
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pos_weight: Annotated[float, Field(gt=0)] = 1.0  # bce: weight of a positive against a negative
    gamma_neg: Annotated[float, Field(ge=0)] = 4.0  # asymmetric: focusing of the negatives
    gamma_pos: Annotated[float, Field(ge=0)] = 1.0  # asymmetric: focusing of the positives
    gamma: Annotated[float, Field(ge=1)] = 2.0  # focal: focusing; below 1 the gradient of a certain answer is infinite
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None  # focal of several labels: share of the positives
    beta: Annotated[float, Field(gt=0)] = 2.0  # soft_f: recall counts so many times as much as precision
    forgiveness: Annotated[float, Field(gt=0)] = 1.0  # forgiving: weight of its second term
    delta: Annotated[float, Field(gt=0)] = 1.0  # smooth_l1, huber: larger errors count linearly; in deviations
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5  # pinball: the share of the truth that shall lie below
    margin: Annotated[float, Field(ge=0)] | None = None  # arcface: degrees; others: of the cosine; triplet: distance
    scale: Annotated[float, Field(gt=0)] | None = None  # of the cosines
    centers: Annotated[int, Field(ge=2, le=16)] = 3  # sub_center_arcface: vectors of an identity
    miner: Literal["all", "semihard", "hard", "batch_hard"] = "semihard"  # triplet: which of a batch's triplets count
    memory: Annotated[int, Field(ge=1)] | None = None  # triplet: vectors of earlier batches that a batch is compared to
    lr: Annotated[float, Field(gt=0)] | None = None  # highest learning rate of the class vectors; None: optim.lr

    @property
    def weighted(self) -> dict[str, float]:
        """Every loss that is summed -> its weight; of one loss alone 1."""
        return self.parts if self.name == SUM else {self.name: 1.0}

    @model_validator(mode="after")
    def _the_loss_reads_it(self) -> LossConfig:
        if (self.name == SUM) != bool(self.parts):
            raise ValueError("loss 'sum' needs parts, such as {bce: 1.0, focal: 0.3}" if self.name == SUM else
                             f"loss '{self.name}' does not read parts; it is read by sum")
        for name in self.weighted:
            if not is_project_code(name) and name not in LOSSES:
                known = did_you_mean(name, list(LOSSES) if self.name == SUM else [*LOSSES, SUM])
                raise ValueError(f"unknown loss '{name}': {known}, or FILE.py:NAME")
        if self.kwargs and not any(map(is_project_code, self.weighted)):
            raise ValueError(f"loss '{self.name}' does not read kwargs; they are for losses of your own")
        for name, losses in LOSSES_READING.items():
            if getattr(self, name) == type(self).model_fields[name].default:
                continue
            readers = [loss for loss in self.weighted if loss in losses]
            if not readers:
                raise ValueError(f"loss '{self.name}' does not read {name}; it is read by {', '.join(losses)}")
            if name == "margin" and len(readers) > 1:
                raise ValueError(f"loss 'sum': margin is of other units for {' than for '.join(readers)}; leave it out")
        return self
