"""Miniature competitions for the tests: files below a folder, and the settings that tell of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foldpack.competitions.training_items import TrainableCompetition, make_competition
from foldpack.settings.competition import parse_competition

PLAIN: dict[str, Any] = {
    "name": "birds",
    "slug": "birds-2026",
    "train": {"source": {"kind": "csv", "file": "train.csv"}, "id": "{id}", "image": "train/{id}.png"},
    "test": {"source": {"kind": "sample"}, "id": "{id}", "image": "test/{id}.png"},
    "labels": {"kind": "class", "column": "label"},
    "answer": {"kind": "class", "id": "id", "column": "label"},
    "metric": {"name": "accuracy"},
}


def competition_of(**changes: Any) -> TrainableCompetition:
    """The adapter of the plain settings, changed: `labels={...}` replaces a part, `train__id="{x}"` a key in one."""
    settings: dict[str, Any] = {name: dict(part) if isinstance(part, dict) else part for name, part in PLAIN.items()}
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            settings[part] = {**settings[part], key: value}
        else:
            settings[part] = value
    return make_competition(parse_competition(settings, "competition.yml"))


def write_files(root: Path, files: dict[str, str | bytes], *images: str) -> Path:
    """Write text files and empty images below a folder."""
    for name, content in {**files, **dict.fromkeys(images, b"")}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root
