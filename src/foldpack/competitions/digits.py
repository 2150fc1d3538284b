"""The embedded 1,797 handwritten digits of 32x32 pixels, as three competitions: one for each kind of answer."""

from __future__ import annotations

from typing import Any

# As `competition.yml` has it. Which of ten classes, scored by accuracy: the default.
DIGITS: dict[str, Any] = {
    "name": "digits",
    "slug": "foldpack-digits",
    "train": {"source": {"kind": "csv", "file": "train.csv"}, "id": "{id}", "image": "train/{id}.png"},
    "test": {"source": {"kind": "sample"}, "id": "{id}", "image": "test/{id}.png"},
    "labels": {"kind": "class", "column": "label"},
    "answer": {"kind": "class", "id": "id", "column": "label"},
    "metric": {"name": "accuracy"},
}
# Which number.
DIGITS_VALUES: dict[str, Any] = {
    **DIGITS,
    "name": "digits-values",
    "slug": "foldpack-digits-values",
    "labels": {"kind": "values", "columns": ["label"]},
    "answer": {"kind": "values", "id": "id", "columns": ["label"]},
    "metric": {"name": "rmse"},
}
# Which of eight identities, likeliest first; eights and nines are of none of them.
DIGITS_RETRIEVAL: dict[str, Any] = {
    **DIGITS,
    "name": "digits-retrieval",
    "slug": "foldpack-digits-retrieval",
    "labels": {"kind": "identity", "column": "label", "none": "new"},
    "answer": {"kind": "ranking", "id": "id", "column": "label", "k": 5},
    "metric": {"name": "map5"},
}
