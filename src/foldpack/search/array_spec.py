"""`ensembles/<name>.yml` of predictions that are not our runs, and how any ensemble is applied to arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.thresholds import cut_grades, decide, with_new_score
from foldpack.errors import DataError
from foldpack.files import write_atomic
from foldpack.metrics.classification import predicted_class
from foldpack.metrics.ranking import top_k
from foldpack.metrics.registry import METRICS, get_metric
from foldpack.search.decide.new_class import new_column
from foldpack.settings.ensemble import EnsembleSpec, MetricSpec, lift_threshold, parse_spec
from foldpack.settings.stages import HexDigest, LabelsDecision, Level2Spec, ScoreBlend, SpecError
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict


class ArrayMember(StrictModel):
    """One member's share. sha256: of its out-of-fold file, or of the digests of its folds' files."""

    name: str
    weight: float  # below 0 only where signed weights were asked for
    sha256: HexDigest
    scores: Literal["probability", "logit", "value"] | None = None  # what its numbers are; None: told by their range
    temperature: Annotated[float, Field(gt=0)] = 1.0  # its log-odds are divided by it, where only their order counts
    column: str | None = None  # of predictions with one number an item: what its file calls them


class ArrayEnsemble(StrictModel):
    """A blend of anyone's predictions."""

    version: Literal[1] = 1
    name: str
    kind: Literal["exclusive", "labels", "values"]  # one class an item; any number of labels; a real value
    metric: MetricSpec
    blend: ScoreBlend
    classes: list[str] | None = None  # names of the columns, in order; of one number an item: the name of the answer
    id_column: str | None = None  # what the files call their ids
    label_column: str | None = None  # what the labels' file calls the labels
    threshold: float | list[float] | None = None
    min_labels: Annotated[int, Field(ge=0)] = 1
    max_labels: Annotated[int, Field(ge=1)] | None = None
    cuts: list[float] | None = None  # between grades
    new_score: float | None = None  # of the class "in no class", which every input gets as its last column
    members: Annotated[list[ArrayMember], Field(min_length=1)]
    level2: Level2Spec | None = None
    prior: list[float] | None = None  # share of each class in the labels, for level 2

    @model_validator(mode="after")
    def _weights_sum(self) -> ArrayEnsemble:
        if abs(sum(member.weight for member in self.members)) < 1e-9:
            raise ValueError("the weights of the members sum to 0")
        if self.level2 is not None and self.prior is None:
            raise ValueError("level2 needs the prior of the classes")
        names = [member.name for member in self.members]
        if self.level2 is not None and (strange := [one for one in self.level2.members if one not in names]):
            raise ValueError(f"level2.members names {strange[0]!r}, which is no member")
        return self


def write_array_ensemble(path: Path, spec: ArrayEnsemble) -> None:
    """Write the YAML atomically."""
    write_atomic(path, dump_strict(spec.model_dump(mode="json", exclude_none=True)))


def read_any_ensemble(path: Path) -> ArrayEnsemble | EnsembleSpec:
    """Read an ensemble of arrays or of runs. Raises SpecError or YamlError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise SpecError(f"{path}: cannot read the ensemble ({failure}); make it with ./ensemble_search.py") from None
    data = load_strict(text, str(path))
    if isinstance(data, dict) and "kind" in data:
        limits = {key: data[key] for key in ("min_labels", "max_labels") if key in data}
        lifted = {"level2": lift_threshold(data["level2"], limits)} if "level2" in data else {}
        return parse_strict(ArrayEnsemble, {**data, **lifted}, path, SpecError)
    return parse_spec(data, path)


def array_view(spec: ArrayEnsemble | EnsembleSpec) -> ArrayEnsemble:
    """An ensemble of runs seen as one of arrays: its members in the order of the YAML."""
    if isinstance(spec, ArrayEnsemble):
        return spec
    stage = spec.last
    members = [ArrayMember(name=one.run, weight=one.weight, sha256=one.folds[0].sha256) for one in stage.members]
    return ArrayEnsemble(
        name=spec.name,
        kind="exclusive" if stage.outputs.exclusive else "labels",
        metric=spec.metric,
        blend=stage.scores,
        classes=stage.outputs.names,
        members=members,
        level2=next(iter(stage.level2), None),
        prior=stage.outputs.prior,
        **stage.decision.model_dump(exclude={"kind"}),
    )


def apply_ensemble(spec: ArrayEnsemble, predictions: list[np.ndarray]) -> np.ndarray:
    """Blend members' probabilities (or values), each (n, C) or (n,), in the order of the YAML -> the same shape.

    With a `new_score`, one column more: the class "in no class" with that score.
    """
    if spec.new_score is not None:
        column = new_column(*predictions[0].shape)
        predictions = [np.hstack([probs, column]) for probs in predictions]
    if len(predictions) != len(spec.members):
        names = ", ".join(member.name for member in spec.members)
        raise DataError(f"{len(predictions)} inputs for the {len(spec.members)} members of {spec.name}: {names}")
    for member, probs in zip(spec.members, predictions, strict=True):
        if probs.shape != predictions[0].shape:
            raise DataError(f"the input for {member.name} has shape {probs.shape}, the first has "
                            f"{predictions[0].shape}")
    weights = [member.weight for member in spec.members]
    blended = blend_probs(predictions, weights, spec.blend, spec.kind == "exclusive")
    return blended if spec.new_score is None else with_new_score(blended, spec.new_score)


def decide_ensemble(spec: ArrayEnsemble, blended: np.ndarray) -> np.ndarray | None:
    """(n, C) bool labels, (n,) int classes or grades, or (n, k) int rankings with -1 for "in no class"; else None: the

    metric takes the numbers themselves.

    blended: the blend, or level 2 where the ensemble has one.
    """
    level2 = None if spec.level2 is None else spec.level2.decision
    threshold = level2.threshold if isinstance(level2, LabelsDecision) else spec.threshold
    if threshold is not None:
        table = blended if blended.ndim == 2 else blended[:, None]
        return decide(table, np.asarray(threshold), spec.min_labels, spec.max_labels)
    if spec.new_score is not None:
        ranked = top_k(blended, get_metric(spec.metric.name).map_at)
        return np.where(ranked == blended.shape[1] - 1, -1, ranked)
    metric = METRICS.get(spec.metric.name)
    if spec.kind == "exclusive" and metric is not None and metric.answer == "class":
        return predicted_class(blended)
    if metric is not None and metric.map_at:
        return top_k(blended, metric.map_at)
    return None if spec.cuts is None else cut_grades(blended, np.array(spec.cuts))
