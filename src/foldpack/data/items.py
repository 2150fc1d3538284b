"""What is predicted: a list of images with their ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from foldpack.errors import DataError


@dataclass(frozen=True)
class Items:
    """Ids and image paths, row by row. A path may be missing on disk: such an item is answered by the prior."""

    ids: list[str]
    paths: list[Path]
    notes: list[str] = field(default_factory=list)  # what was odd about the images' folder, a line each

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.paths):
            raise DataError(f"{len(self.ids)} ids for {len(self.paths)} image paths; each id needs one path")

    def __len__(self) -> int:
        return len(self.ids)
