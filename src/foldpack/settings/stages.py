"""A stage of an ensemble: what its members predict, how they are fused, and what is decided of the result.

What differs by kind is a class of its own with the key `kind`: outputs, fuse, decision. A new kind is one class more.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.settings.file_members import FilesSpec
from foldpack.settings.network import Geometry, Sides, WeightsOrigin, check_pixels
from foldpack.settings.outputs import Boxes, BoxUnion, Classes, HandOnDecision, ScoreBlend, ValueRange, Values, Vectors
from foldpack.settings.retrieve import Neighbours, Retrieval
from foldpack.settings.strict_model import StrictModel

VIEW_MERGES = ("mean", "gmean", "logit_mean", "rank")  # and "power:Q"

# What a submission says of an item: one class; a set of labels; a grade; a value; a probability of each class; a ranked
# list of classes; boxes, points or masks. A decision has the same word as its kind.
AnswerKind = Literal["class", "labels", "grades", "values", "probs", "ranking", "pages"]

# What a network's outputs become, by the task that its run was trained for.
LINKS: dict[str, Literal["softmax", "sigmoid"]] = {"multiclass": "softmax", "multilabel": "sigmoid"}

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
HexDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SpecError(FoldpackError):
    """An ensemble YAML that cannot be read or does not fit the runs it names."""


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


class GallerySpec(StrictModel):
    """The gallery of a checkpoint. `file` and `header` are filled in when it is sealed."""

    sha256: HexDigest  # of the plain safetensors file
    file: str | None = None  # opaque name of the sealed file
    header: HexDigest | None = None  # SHA-256 of the sealed file's header


class FoldSpec(StrictModel):
    """One checkpoint of a member. `file` and `header` are filled in when the weights are sealed."""

    fold: Annotated[int, Field(ge=0)]
    sha256: HexDigest  # of the plain safetensors file
    file: str | None = None  # opaque name of the sealed file
    header: HexDigest | None = None  # SHA-256 of the sealed file's header: pins this very version
    gallery: GallerySpec | None = None  # what its queries are compared with


class MemberSpec(StrictModel):
    """A run inside the ensemble: its share, the views it predicts and its checkpoints."""

    run: Name
    weight: Annotated[float, Field(ge=0)]
    views: Annotated[list[str], Field(min_length=1)]
    merge: MergeName = "mean"  # of the views: `ensemble.view_merge`
    network: str | None = None  # FILE.py:NAME of one of the project's own, which the kernel takes along
    size: Sides  # of the network's input, pixels: as in its NetConfig, like the next four
    seconds_per_image: Annotated[float, Field(ge=0)]  # one fold, one view, measured where the OOF was made
    canvas: Sides | None = None
    decoder: Literal["pillow", "pillow-draft"] = "pillow"
    geometry: Geometry | None = None
    channels: Annotated[int, Field(ge=1, le=64)] = 3
    start: WeightsOrigin | None = None  # whose weights its training began with
    retrieve: Retrieval | None = None  # how its queries are compared with a gallery; None: as the stage fuses
    folds: Annotated[list[FoldSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _pixels_fit(self) -> MemberSpec:
        check_pixels(self.size, self.canvas, self.geometry)
        return self

    @model_validator(mode="after")
    def _each_fold_once(self) -> MemberSpec:
        numbers = [fold.fold for fold in self.folds]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"run '{self.run}' names a fold twice: {numbers}")
        return self


class ClassDecision(StrictModel):
    """Decision: the likeliest class."""

    kind: Literal["class"] = "class"


class LabelsDecision(StrictModel):
    """Decision: the classes at or above a threshold."""

    kind: Literal["labels"] = "labels"
    threshold: float | list[float]  # one, or one a class
    min_labels: Annotated[int, Field(ge=0)] = 1  # at least so many classes an item
    max_labels: Annotated[int, Field(ge=1)] | None = None  # at most so many

    @model_validator(mode="after")
    def _limits_fit(self) -> LabelsDecision:
        if self.max_labels is not None and self.max_labels < self.min_labels:
            raise ValueError(f"at least {self.min_labels} and at most {self.max_labels} labels an item do not fit")
        return self


class ProbsDecision(StrictModel):
    """Decision: the probabilities themselves, a column a class; of one class alone in the column of the answer."""

    kind: Literal["probs"] = "probs"
    classes: Annotated[list[str], Field(min_length=1)] | None = None  # those that are asked for; None: all


class RankingDecision(StrictModel):
    """Decision: the best classes, best first."""

    kind: Literal["ranking"] = "ranking"
    k: Annotated[int, Field(ge=1)]  # so many, or all where there are fewer
    none_score: float | None = None  # of the last class, "none of these", in place of what the networks say of it
    none_rank: Annotated[int, Field(ge=1)] | None = None  # the last place that it may have; None: any, and none at all

    @model_validator(mode="after")
    def _rank_is_read(self) -> RankingDecision:
        if self.none_rank is not None and self.none_score is None:
            raise ValueError("none_rank goes with none_score, and there is none; leave it out")
        return self


class ValuesDecision(StrictModel):
    """Decision: the values themselves, a column a target; of one target in the column of the answer."""

    kind: Literal["values"] = "values"
    range: ValueRange | None = None  # lowest and highest: values beyond are cut to it


class GradesDecision(StrictModel):
    """Decision: a whole number from 0 on."""

    kind: Literal["grades"] = "grades"
    cuts: Annotated[list[float], Field(min_length=1)]  # ascending; a value at a cut has the higher grade

    @model_validator(mode="after")
    def _cuts_ascend(self) -> GradesDecision:
        if sorted(self.cuts) != self.cuts:
            raise ValueError(f"cuts {self.cuts} do not ascend")
        return self


Outputs = Annotated[Classes | Values | Vectors | Boxes, Field(discriminator="kind")]
Fuse = Annotated[ScoreBlend | Neighbours | BoxUnion, Field(discriminator="kind")]
Decision = Annotated[
    ClassDecision | LabelsDecision | ProbsDecision | RankingDecision | ValuesDecision | GradesDecision
    | HandOnDecision,
    Field(discriminator="kind"),
]

DECISIONS: dict[str, tuple[AnswerKind, ...]] = {  # of outputs with this link
    "softmax": ("class", "probs", "ranking"),
    "sigmoid": ("labels", "probs", "ranking"),
    "identity": ("values", "grades"),
}


def numbered(outputs: Outputs, decision: Decision) -> list[str]:
    """What the numbers of an answer are of: values or classes; none where the answer is names."""
    if isinstance(decision, ProbsDecision):
        return decision.classes or outputs.names
    return outputs.names if isinstance(outputs, Values) else []


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
    decision: Decision | None = None  # with this blend; None: that of the stage
    oof: float  # the metric of this blend on the rows of the fit


class PlanSpec(StrictModel):
    """The order of all units, for value and cost, and the blend after each that brings a new member."""

    units: Annotated[list[UnitSpec], Field(min_length=1)]
    prefixes: Annotated[list[PrefixSpec], Field(min_length=1)]


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
    decision: Decision | None = None  # in place of the blend's, which has numbers that were fitted to the blend
    oof: float  # the metric, all rows together, each predicted by the boosters that never saw it
    nested: float  # the same fold by fold, a threshold fitted on the other folds
    nested_se: float
    gain: float  # over the blend, fold by fold; above 0 is better
    gain_se: float
    boosters: Annotated[list[BoosterSpec], Field(min_length=1)]


class StageSpec(StrictModel):
    """One stage: a task, its members, how they are fused, and what is decided."""

    name: Name
    task: str  # a name of `tasks.registry`, or FILE.py:NAME of one of the project's own; of files: blend
    items: Name = "test"  # the test images, or the boxes of an earlier stage
    share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the time left at its start; binds once a unit is finished
    outputs: Outputs
    members: list[MemberSpec] = []
    files: FilesSpec | None = None  # in place of members: predictions that anyone made, for `foldpack blend`
    plan: PlanSpec | None = None
    fuse: Fuse
    level2: Annotated[list[Level2Spec], Field(max_length=1)] = []  # where members are missing the blend stands
    decision: Decision

    @property
    def scores(self) -> ScoreBlend:
        """How scores are fused. Raises SpecError for a stage of boxes."""
        if not isinstance(self.fuse, ScoreBlend):
            raise SpecError(f"stage '{self.name}' fuses '{self.fuse.kind}', not scores")
        return self.fuse

    @model_validator(mode="after")
    def _members_fit(self) -> StageSpec:
        if bool(self.members) == (self.files is not None):
            raise ValueError("members: a stage needs members that are runs, or files in place of them")
        if self.members and not sum(member.weight for member in self.members) > 0:
            raise ValueError("the weights of the members sum to 0")
        fewest = 2 if isinstance(self.outputs, Classes) else 1
        if self.members and (len(self.outputs.names) < fewest or not self.outputs.prior):
            raise ValueError(f"outputs: networks need {fewest} names or more, and a prior")
        return self

    @model_validator(mode="after")
    def _decisions_fit(self) -> StageSpec:
        others = [("plan", one.decision) for one in (self.plan.prefixes if self.plan is not None else [])]
        others += [("level2", one.decision) for one in self.level2]
        for where, decision in [("stage", self.decision), *others]:
            if decision is None:
                continue
            if decision.kind != self.decision.kind:
                raise ValueError(f"{where} decides '{decision.kind}', but the stage '{self.decision.kind}'")
            if isinstance(decision, LabelsDecision) and isinstance(decision.threshold, list) and (
                    len(decision.threshold) != len(self.outputs.names)):
                raise ValueError(f"{len(decision.threshold)} thresholds for {len(self.outputs.names)} classes: {where}")
        if isinstance(self.decision, LabelsDecision) and any(one.decision is None for one in self.level2):
            raise ValueError("level2 needs a decision of its own, as its probabilities are not those of the blend")
        if isinstance(self.fuse, BoxUnion) != isinstance(self.outputs, Boxes):
            raise ValueError(f"fuse '{self.fuse.kind}' does not fit outputs '{self.outputs.kind}': boxes go together")
        allowed = ("hand_on",) if isinstance(self.outputs, Boxes) else DECISIONS[self.outputs.link]
        if self.decision.kind not in allowed:
            raise ValueError(f"decision '{self.decision.kind}' does not fit link '{self.outputs.link}'; allowed: "
                             f"{', '.join(allowed)}")
        if strange := [name for name in numbered(self.outputs, self.decision) if name not in self.outputs.names]:
            raise ValueError(f"decision.classes names '{strange[0]}', which is none of the classes")
        return self

    @model_validator(mode="after")
    def _galleries_fit(self) -> StageSpec:
        retrieval = isinstance(self.outputs, Vectors)
        if retrieval != isinstance(self.fuse, Neighbours):
            raise ValueError(f"fuse '{self.fuse.kind}' does not fit outputs '{self.outputs.kind}': neighbours goes "
                             "with vectors, and only with them")
        for member in self.members:
            if any((fold.gallery is not None) != retrieval for fold in member.folds):
                raise ValueError(f"run '{member.run}': each fold of vectors needs its gallery, and no other has one; "
                                 "search again")
            if member.retrieve is not None and not retrieval:
                raise ValueError(f"run '{member.run}': retrieve is of vectors; leave it out")
        return self

    @model_validator(mode="after")
    def _level2_fits(self) -> StageSpec:
        weighted = [name for name, weight in self.shares.items() if weight]
        if self.level2 and not (isinstance(self.outputs, Classes) and self.outputs.prior):
            raise ValueError("level2 needs classes and their prior")
        for level2 in self.level2:
            if strange := [run for run in level2.members if run not in weighted]:
                raise ValueError(f"level2.members names '{strange[0]}', which has no weight here; search again")
            if len(set(level2.members)) != len(level2.members):
                raise ValueError("level2.members names a run twice")
            if level2.reject is not None and level2.reject >= len(self.outputs.names):
                raise ValueError(f"level2.reject is class {level2.reject} of {len(self.outputs.names)}, counted from 0")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Name of a run or file -> its weight, in the order of the YAML."""
        if self.files is not None:
            return {member.name: member.weight for member in self.files.members}
        return {member.run: member.weight for member in self.members}
