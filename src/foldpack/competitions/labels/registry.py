"""The kinds of labels, by the name that `competition.yml` has for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foldpack.competitions.labels.boxes import box_truth
from foldpack.competitions.labels.classes import (
    class_truth,
    grade_truth,
    identity_truth,
    joined_truth,
    one_hot_truth,
)
from foldpack.competitions.labels.masks import mask_truth
from foldpack.competitions.labels.truth import Source, Truth
from foldpack.competitions.labels.values import value_truth
from foldpack.settings.label_kinds import LabelsConfig, OneHotLabels

LABELS: dict[str, Callable[[Any, Source], Truth]] = {
    "boxes": box_truth,
    "class": class_truth,
    "grades": grade_truth,
    "identity": identity_truth,
    "labels": joined_truth,
    "masks": mask_truth,
    "one-hot": one_hot_truth,
    "values": value_truth,
}


def label_task(labels: LabelsConfig) -> str:
    """What `Competition.task` says of labels. Grades are classes to those who learn classes, and numbers to others."""
    if isinstance(labels, OneHotLabels):
        return "multiclass" if labels.exclusive else "multilabel"
    return {"class": "multiclass", "grades": "multiclass", "labels": "multilabel",
            "identity": "ranking"}.get(labels.kind, labels.kind)
