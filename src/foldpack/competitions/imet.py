"""iMet Collection 2019 (FGVC6): attributes of museum objects, multi-label, mean over images of F2."""

from __future__ import annotations

from typing import Any

IMET: dict[str, Any] = {  # as `competition.yml` has it
    "name": "imet",
    "slug": "imet-2019-fgvc6",
    "train": {"source": {"kind": "csv", "file": "train.csv"}, "id": "{id}", "image": "train/{id}.png"},
    "test": {"source": {"kind": "sample"}, "id": "{id}", "image": "test/{id}.png"},
    "labels": {"kind": "labels", "column": "attribute_ids",
               "classes": {"file": "labels.csv", "column": "attribute_id"}},
    "answer": {"kind": "labels", "id": "id", "column": "attribute_ids"},
    "metric": {"name": "f2"},
}
