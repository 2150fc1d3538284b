"""Stages for tests: one member of one fold, and what it says."""

from __future__ import annotations

from foldpack.settings.outputs import Classes, ScoreBlend
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    FoldSpec,
    LabelsDecision,
    MemberSpec,
    Outputs,
    StageSpec,
)


def classes_of(names: list[str], link: str = "softmax") -> Classes:
    """Classes that are alike frequent."""
    return Classes.model_validate({"link": link, "names": names, "prior": [1 / len(names)] * len(names)})


def stage_of(outputs: Outputs | list[str], decision: Decision | None = None) -> StageSpec:
    """A stage of these outputs, or of these classes: one an item, or several where labels are decided."""
    if isinstance(outputs, list):
        outputs = classes_of(outputs, "sigmoid" if isinstance(decision, LabelsDecision) else "softmax")
    member = MemberSpec(run="a", weight=1.0, views=["identity"], size=32, seconds_per_image=0.1,
                        folds=[FoldSpec(fold=0, sha256="0" * 64)])
    return StageSpec(name="main", task="classify", outputs=outputs, members=[member], fuse=ScoreBlend(),
                     decision=decision or ClassDecision())
