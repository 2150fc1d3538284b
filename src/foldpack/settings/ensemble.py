"""The ensemble as people write it (YAML) and as the kernel holds it (a literal): members, weights, budget.

`ensemble_search.py` writes `ensembles/<name>.yml`; `deploy_kernel.py` reads it, adds the sealed files, and embeds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from foldpack.files import write_atomic
from foldpack.settings.stages import (
    LINKS,
    NAME_PATTERN,
    AnswerKind,
    BoosterSpec,
    HexDigest,
    MemberSpec,
    Name,
    SpecError,
    StageSpec,
)
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict

BOX_DECISIONS = ("class", "labels", "ranking", "hand_on")  # of which an image may have any number
KEYS_FILE = "foldpack-keys.json"  # in the private dataset of `keys: dataset`


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


class WheelsSpec(StrictModel):
    """Wheels that the kernel installs offline, before anything imports them, into a folder of its own."""

    dataset: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]  # owner/slug
    packages: Annotated[list[str], Field(min_length=1)]


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


class AnswerTableSpec(StrictModel):
    """The table that is handed in."""

    sample: str  # file of the competition that has its rows and columns
    id_column: str
    columns: Annotated[list[str], Field(min_length=1)]  # to be answered


class EnsembleSpec(StrictModel):
    """A whole ensemble: its stages, each on what the one before has found."""

    version: Literal[2] = 2
    name: Name
    competition: str = ""  # the adapter that lists the items and writes the submission; empty: files alone
    slug: str = ""  # the competition's name on Kaggle; empty: files alone
    metric: MetricSpec
    budget: BudgetSpec = BudgetSpec()
    stages: Annotated[list[StageSpec], Field(min_length=1)]
    vendor: list[str] | None = None  # pure-Python distributions to carry inside the script
    wheels: WheelsSpec | None = None
    keys: Literal["inline", "dataset"] = "inline"  # where the kernel has its keys: in the script, or a second dataset
    table: AnswerTableSpec | None = None  # filled in by the deploy, as is `fallback`: no code is needed to write it
    fallback: dict[str, str] | None = None  # answer column -> the cell of a row of which nothing is known
    history: list[ScoreSpec] | None = None  # scores on Kaggle; never part of the pack

    @model_validator(mode="after")
    def _runs_are_apart(self) -> EnsembleSpec:
        for what, names in (("stage", [stage.name for stage in self.stages]),
                            ("run", [member.run for member in self.members])):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} is named twice: {', '.join(names)}")
        if self.members and not (self.competition and re.fullmatch(NAME_PATTERN, self.slug)):
            raise ValueError(f"an ensemble of runs needs competition and slug, got '{self.competition}' and "
                             f"'{self.slug}'")
        return self

    @model_validator(mode="after")
    def _stages_follow(self) -> EnsembleSpec:
        before = "test"
        for stage in self.stages:
            if stage.items not in ("test", before):
                raise ValueError(f"stage '{stage.name}' takes items '{stage.items}'; allowed: test, the stage before")
            if stage.items != "test" and stage.decision.kind not in BOX_DECISIONS:
                raise ValueError(f"stage '{stage.name}' decides '{stage.decision.kind}' of boxes; allowed: "
                                 f"{', '.join(BOX_DECISIONS)}, as an image is answered with what its boxes are")
            before = stage.name
        for stage, after in zip(self.stages, [*self.stages[1:], None], strict=True):
            if (stage.decision.kind == "hand_on") != (after is not None and after.items == stage.name):
                raise ValueError(f"stage '{stage.name}' decides '{stage.decision.kind}'; hand_on goes with a next "
                                 "stage whose items are its boxes, and only with such")
        return self

    @property
    def last(self) -> StageSpec:
        """The stage that answers."""
        return self.stages[-1]

    @property
    def members(self) -> list[MemberSpec]:
        """The members of all stages, in order."""
        return [member for stage in self.stages for member in stage.members]

    @property
    def boosters(self) -> list[BoosterSpec]:
        """The boosters of all stages, in order."""
        return [one for stage in self.stages for level2 in stage.level2 for one in level2.boosters]

    def with_last(self, **changes: object) -> EnsembleSpec:
        """The same ensemble with these fields of its last stage changed."""
        return self.model_copy(update={"stages": [*self.stages[:-1], self.last.model_copy(update=changes)]})


@dataclass(frozen=True)
class SealedPart:
    """One sealed file that the kernel needs: what it is bound to, its opaque name, the hash of its header."""

    role: str
    file: str
    header: str


def sealed_parts(spec: EnsembleSpec) -> list[SealedPart]:
    """Every sealed file of a sealed ensemble: folds, galleries, then the boosters of level 2."""
    parts = [SealedPart(fold_role(member.run, fold.fold), str(fold.file), str(fold.header))
             for member in spec.members for fold in member.folds]
    parts += [SealedPart(gallery_role(member.run, fold.fold), str(fold.gallery.file), str(fold.gallery.header))
              for member in spec.members for fold in member.folds if fold.gallery is not None]
    return parts + [SealedPart(booster_role(number), str(one.sealed), str(one.header))
                    for number, one in enumerate(spec.boosters)]


def booster_role(number: int) -> str:
    """What the sealed text of a booster is bound to. number: its place among those of all stages."""
    return f"level2/{number}"


def fold_role(run: str, fold: int) -> str:
    """What the sealed weights of a fold are bound to; the reader says it, so a valid but swapped file is refused."""
    return f"{run}/fold{fold}"


def gallery_role(run: str, fold: int) -> str:
    """What the sealed gallery of a fold's checkpoint is bound to."""
    return f"{fold_role(run, fold)}/gallery"


def parse_spec(data: object, source: Path | str = "SPEC") -> EnsembleSpec:
    """Plain data (from YAML or the kernel's literal) -> EnsembleSpec. Raises SpecError naming the key."""
    if isinstance(data, dict) and "stages" not in data and data.get("version", 1) == 1:
        data = lift_spec(data)
    return parse_strict(EnsembleSpec, data, source, SpecError)


def lift_spec(data: dict[str, Any]) -> dict[str, Any]:
    """An ensemble of version 1, which was one stage, as one of version 2. What it does not know stays for the check."""
    rest = {key: value for key, value in data.items() if value is not None} | {"version": 2}
    task = rest.pop("task", "multiclass")
    limits: dict[str, Any] = {key: rest.pop(key) for key in ("min_labels", "max_labels") if key in rest}
    decision = {"kind": "labels", **limits} if task == "multilabel" else {"kind": "class"}
    outputs = {"kind": "classes", "link": LINKS.get(task, task)}
    stage: dict[str, Any] = {"name": "classify", "task": "classify", "outputs": outputs, "decision": decision}
    for old, (place, new) in {"classes": (outputs, "names"), "prior": (outputs, "prior"), "members": (stage, "members"),
                              "plan": (stage, "plan"), "blend": (stage, "fuse"),
                              "threshold": (decision, "threshold")}.items():
        if old in rest:
            place[new] = rest.pop(old)
    fuse = stage.get("fuse", {})
    stage["fuse"] = {"kind": "scores", **fuse} if isinstance(fuse, dict) else fuse
    if isinstance(stage.get("plan"), dict) and isinstance(stage["plan"].get("prefixes"), list):
        prefixes = [lift_threshold(prefix, limits) for prefix in stage["plan"]["prefixes"]]
        stage["plan"] = {**stage["plan"], "prefixes": prefixes}
    if "level2" in rest:
        stage["level2"] = [lift_threshold(rest.pop("level2"), limits)]
    return {**rest, "stages": [stage]}


def lift_threshold(part: Any, limits: dict[str, Any]) -> Any:
    """A prefix or level 2 of version 1, whose threshold is now a decision. limits: of the labels of an item."""
    if not isinstance(part, dict):
        return part
    rest = {key: value for key, value in part.items() if key != "threshold"}
    decision = {"kind": "labels", "threshold": part.get("threshold"), **limits}
    return rest if part.get("threshold") is None else {**rest, "decision": decision}


def read_spec(path: Path) -> EnsembleSpec:
    """Read and check the YAML of an ensemble of runs. Raises SpecError (also for a blend of files) or YamlError."""
    data = load_spec(path)
    old = isinstance(data, dict) and "kind" in data and "competition" not in data
    spec = None if old else parse_spec(data, path)
    if spec is None or not spec.members:
        raise SpecError(f"{path}: a blend of files, which has no runs; a deploy needs an ensemble of runs, and "
                        "`foldpack blend` applies this one")
    return spec


def load_spec(path: Path) -> object:
    """The plain data of `ensembles/<name>.yml`. Raises SpecError or YamlError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = (failure.strerror or "unreadable").lower() if isinstance(failure, OSError) else "not UTF-8"
        raise SpecError(f"{path}: cannot read the ensemble ({reason}); make it with `foldpack search`, "
                        "or with all before it by `foldpack recipe`") from None
    return load_strict(text, str(path))


def spec_to_dict(spec: EnsembleSpec) -> dict:
    """Plain data that `parse_spec` reads back; fields left at None are dropped."""
    return spec.model_dump(mode="json", exclude_none=True)


def write_spec(path: Path, spec: EnsembleSpec) -> None:
    """Write `ensembles/<name>.yml` atomically."""
    write_atomic(path, dump_strict(spec_to_dict(spec)))
