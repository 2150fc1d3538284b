"""The kinds of labels, by the name that `competition.yml` has for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foldpack.competitions.labels.classes import class_truth
from foldpack.competitions.labels.truth import Source, Truth

LABELS: dict[str, Callable[[Any, Source], Truth]] = {
    "class": class_truth,
}
# What `Competition.task` says of each.
LABEL_TASKS = {"class": "multiclass"}
