"""The ensemble as people write it (YAML) and as the kernel holds it (a literal): members, weights, budget.

`ensemble_search.py` writes `ensembles/<name>.yml`; `deploy_kernel.py` reads it, adds the sealed files, and embeds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.files import write_atomic
from foldpack.settings.network import Geometry, Sides, check_pixels
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict

VIEW_MERGES = ("mean", "gmean", "logit_mean", "rank")  # and "power:Q"
KEYS_FILE = "foldpack-keys.json"  # in the private dataset of `keys: dataset`

# What a submission says of an item: one class; a set of labels; a grade; a value; a probability of each class; a ranked
# list of classes; boxes, points or masks.
AnswerKind = Literal["class", "labels", "grades", "values", "probs", "ranking", "pages"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
HexDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def merge_power(name: str) -> float | None:
    """The exponent of "power:Q"; None for the other merges of views. Raises SpecError for a name that is none."""
    if name in VIEW_MERGES:
        return None
    kind, _, exponent = name.partition(":")
    if kind == "power" and re.fullmatch(r"-?[0-9]{1,2}(\.[0-9]{1,4})?", exponent) and 0 < abs(float(exponent)) <= 20:
        return float(exponent)
    allowed = [*VIEW_MERGES, "power:Q with Q from -20 to 20, not 0"]
    raise SpecError(f"unknown merge of views '{name}': {did_you_mean(name, allowed)}")


def check_merge_name(name: str) -> str:
    """For settings: the name itself. Raises ValueError for a name that is no merge of views."""
    try:
        merge_power(name)
    except SpecError as failure:
        raise ValueError(str(failure)) from None
    return name


MergeName = Annotated[str, AfterValidator(check_merge_name)]


class SpecError(FoldpackError):
    """An ensemble YAML that cannot be read or does not fit the runs it names."""


class FoldSpec(StrictModel):
    """One checkpoint of a member. `file` and `header` are filled in when the weights are sealed."""

    fold: Annotated[int, Field(ge=0)]
    sha256: HexDigest  # of the plain safetensors file
    file: str | None = None  # opaque name of the sealed file
    header: HexDigest | None = None  # SHA-256 of the sealed file's header: pins this very version


class MemberSpec(StrictModel):
    """A run inside the ensemble: its share, the views it predicts and its checkpoints."""

    run: Name
    weight: Annotated[float, Field(ge=0)]
    views: Annotated[list[str], Field(min_length=1)]
    merge: MergeName = "mean"  # of the views: `ensemble.view_merge`
    size: Sides  # of the network's input, pixels: as in its NetConfig, like the next four
    seconds_per_image: Annotated[float, Field(ge=0)]  # one fold, one view, measured where the OOF was made
    canvas: Sides | None = None
    decoder: Literal["pillow", "pillow-draft"] = "pillow"
    geometry: Geometry | None = None
    channels: Annotated[int, Field(ge=1, le=64)] = 3
    folds: Annotated[list[FoldSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _pixels_fit(self) -> MemberSpec:
        check_pixels(self.size, self.canvas, self.geometry)
        return self


class MetricSpec(StrictModel):
    """What was optimised, and what the search saw."""

    name: str
    oof: float  # of the blend, on the rows the weights were fitted on
    nested: float | None = None  # the whole search repeated without the scored fold
    nested_se: float | None = None  # its standard error over the folds
    uniform: float | None = None  # of equal weights
    answer: AnswerKind | None = None  # of a metric of one's own: what it scores; a built-in metric's name says it


class BudgetSpec(StrictModel):
    """Wall-clock limit of the whole kernel, start-up included."""

    hours: Annotated[float, Field(gt=0, le=24)] = 9.0
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.06  # share of the hours that is kept free at the end
    on_error: Literal["auto", "fail", "stand"] = "auto"  # whether the best submission counts after an error


class BlendSpec(StrictModel):
    """What is summed, and what becomes of the sum: `ensemble.spaces`."""

    space: Literal["probability", "logit", "geometric", "rank", "power", "linear"] = "probability"
    power: Annotated[float, Field(gt=0)] = 1.0  # of "power"
    scale: float = 1.0  # of "logit": the inverse temperature of the sum; of "linear": below 0 with weights of any sign
    bias: float = 0.0  # of "logit" where labels are decided apart, and of "linear"


class UnitSpec(StrictModel):
    """One unit of work: a fold of a run, all its views."""

    run: Name
    fold: Annotated[int, Field(ge=0)]


class ShareSpec(StrictModel):
    """The weight of a run in a prefix of the plan."""

    run: Name
    weight: Annotated[float, Field(ge=0)]


class PrefixSpec(StrictModel):
    """What to blend as long as no other member than these has a finished unit."""

    members: Annotated[list[ShareSpec], Field(min_length=1)]
    scale: Annotated[float, Field(ge=0)] = 1.0
    bias: float = 0.0
    threshold: float | list[float] | None = None
    oof: float  # the metric of this blend on the rows of the fit


class PlanSpec(StrictModel):
    """The order of all units, for value and cost, and the blend after each that brings a new member."""

    units: Annotated[list[UnitSpec], Field(min_length=1)]
    prefixes: Annotated[list[PrefixSpec], Field(min_length=1)]


class WheelsSpec(StrictModel):
    """Wheels that the kernel installs offline, before anything imports them, into a folder of its own."""

    dataset: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]  # owner/slug
    packages: Annotated[list[str], Field(min_length=1)]


class BoosterSpec(StrictModel):
    """One booster of level 2. `sealed` and `header` are filled in when its text is sealed."""

    kind: Literal["lightgbm", "xgboost"]
    fold: Annotated[int, Field(ge=0)]  # the outer fold that it never saw
    seed: Annotated[int, Field(ge=0)] = 0
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]*$")]  # its text, in the folder named like the YAML
    sha256: HexDigest  # of the text
    sealed: str | None = None  # opaque name of the sealed file
    header: HexDigest | None = None  # SHA-256 of the sealed file's header


class Level2Spec(StrictModel):
    """The model on top of the blend, on the candidate table: `ensemble.candidates`. Present only where it gains."""

    top: Annotated[int, Field(ge=1)]  # classes that each member puts forward
    reject: Annotated[int, Field(ge=0)] | None = None  # the class "none of these", a candidate for every item
    members: Annotated[list[str], Field(min_length=1)]  # in the order of the features
    threshold: float | list[float] | None = None  # multilabel: in place of the blend's
    oof: float  # the metric, all rows together, each predicted by the boosters that never saw it
    nested: float  # the same fold by fold, a threshold fitted on the other folds
    nested_se: float
    gain: float  # over the blend, fold by fold; above 0 is better
    gain_se: float
    boosters: Annotated[list[BoosterSpec], Field(min_length=1)]


class ScoreSpec(StrictModel):
    """What one submission of the ensemble scored on Kaggle."""

    pack: HexDigest  # id of the packed script
    kernel: str  # owner/slug
    version: Annotated[int, Field(ge=1)]  # of the kernel
    public_score: float | None = None
    private_score: float | None = None
    hours: float | None = None  # that the kernel ran before the submission, by its log
    when: str  # UTC, as 2026-01-31T12:00:00Z
    message: str


class EnsembleSpec(StrictModel):
    """A whole ensemble. One stage: `stages:` is left out."""

    version: Literal[1] = 1
    name: Name
    competition: str  # the adapter in `competitions/` that lists the items and writes the submission
    slug: Name  # the competition's name on Kaggle
    task: Literal["multiclass", "multilabel"]
    metric: MetricSpec
    budget: BudgetSpec = BudgetSpec()
    blend: BlendSpec = BlendSpec()
    threshold: float | list[float] | None = None  # multilabel: a class is predicted from it on; one, or one a class
    min_labels: Annotated[int, Field(ge=0)] = 1  # multilabel: at least so many classes an item
    max_labels: Annotated[int, Field(ge=1)] | None = None  # multilabel: at most so many
    classes: Annotated[list[str], Field(min_length=2)]  # column order of every probability matrix
    prior: list[float]  # share of each class in the training labels, [0, 1]; answers for a broken image
    members: Annotated[list[MemberSpec], Field(min_length=1)]
    plan: PlanSpec | None = None
    level2: Level2Spec | None = None  # boosters on top; where members are missing the blend stands
    vendor: list[str] | None = None  # pure-Python distributions to carry inside the script
    wheels: WheelsSpec | None = None
    keys: Literal["inline", "dataset"] = "inline"  # where the kernel has its keys: in the script, or a second dataset
    history: list[ScoreSpec] | None = None  # scores on Kaggle; never part of the pack

    @model_validator(mode="after")
    def _parts_fit(self) -> EnsembleSpec:
        if len(self.prior) != len(self.classes):
            raise ValueError(f"prior has {len(self.prior)} numbers for {len(self.classes)} classes")
        if self.task == "multilabel" and self.threshold is None:
            raise ValueError("a multilabel ensemble needs a threshold")
        if isinstance(self.threshold, list) and len(self.threshold) != len(self.classes):
            raise ValueError(f"{len(self.threshold)} thresholds for {len(self.classes)} classes")
        names = [member.run for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"a run is named twice among the members: {', '.join(names)}")
        for member in self.members:
            numbers = [fold.fold for fold in member.folds]
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"run '{member.run}' names a fold twice: {numbers}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        if self.max_labels is not None and self.max_labels < self.min_labels:
            raise ValueError(f"at least {self.min_labels} and at most {self.max_labels} labels an item do not fit")
        if not sum(member.weight for member in self.members) > 0:
            raise ValueError("the weights of the members sum to 0")
        return self

    @model_validator(mode="after")
    def _level2_fits(self) -> EnsembleSpec:
        if self.level2 is None:
            return self
        weighted = [member.run for member in self.members if member.weight > 0]
        if strange := [run for run in self.level2.members if run not in weighted]:
            raise ValueError(f"level2.members names '{strange[0]}', which has no weight here; search again")
        if len(set(self.level2.members)) != len(self.level2.members):
            raise ValueError("level2.members names a run twice")
        if self.level2.reject is not None and self.level2.reject >= len(self.classes):
            raise ValueError(f"level2.reject is class {self.level2.reject} of {len(self.classes)}, counted from 0")
        if (self.level2.threshold is None) == (self.task == "multilabel"):
            raise ValueError("level2 needs a threshold of its own where the task is multilabel, and only there")
        if isinstance(self.level2.threshold, list) and len(self.level2.threshold) != len(self.classes):
            raise ValueError(f"{len(self.level2.threshold)} thresholds of level2 for {len(self.classes)} classes")
        return self


@dataclass(frozen=True)
class SealedPart:
    """One sealed file that the kernel needs: what it is bound to, its opaque name, the hash of its header."""

    role: str
    file: str
    header: str


def sealed_parts(spec: EnsembleSpec) -> list[SealedPart]:
    """Every sealed file of a sealed ensemble: folds, then the boosters of level 2."""
    parts = [SealedPart(fold_role(member.run, fold.fold), str(fold.file), str(fold.header))
             for member in spec.members for fold in member.folds]
    boosters = spec.level2.boosters if spec.level2 is not None else []
    return parts + [SealedPart(booster_role(number), str(one.sealed), str(one.header))
                    for number, one in enumerate(boosters)]


def booster_role(number: int) -> str:
    """What the sealed text of a booster is bound to. number: its place in `level2.boosters`."""
    return f"level2/{number}"


def fold_role(run: str, fold: int) -> str:
    """What the sealed weights of a fold are bound to; the reader says it, so a valid but swapped file is refused."""
    return f"{run}/fold{fold}"


def parse_spec(data: object, source: Path | str = "SPEC") -> EnsembleSpec:
    """Plain data (from YAML or the kernel's literal) -> EnsembleSpec. Raises SpecError naming the key."""
    return parse_strict(EnsembleSpec, data, source, SpecError)


def read_spec(path: Path) -> EnsembleSpec:
    """Read and check `ensembles/<name>.yml`. Raises SpecError (also for a blend of files) or YamlError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = (failure.strerror or "unreadable").lower() if isinstance(failure, OSError) else "not UTF-8"
        raise SpecError(f"{path}: cannot read the ensemble ({reason}); make it with ./ensemble_search.py") from None
    data = load_strict(text, str(path))
    if isinstance(data, dict) and "kind" in data and "competition" not in data:
        raise SpecError(f"{path}: a blend of files, which has no runs; a deploy needs an ensemble of runs, and "
                        "`foldpack blend` applies this one")
    return parse_spec(data, path)


def spec_to_dict(spec: EnsembleSpec) -> dict:
    """Plain data that `parse_spec` reads back; fields left at None are dropped."""
    return spec.model_dump(mode="json", exclude_none=True)


def write_spec(path: Path, spec: EnsembleSpec) -> None:
    """Write `ensembles/<name>.yml` atomically."""
    write_atomic(path, dump_strict(spec_to_dict(spec)))
