"""A competition that a file tells of, with its training items and what is known of them. No kernel has this half."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.kernel_half import item_rules, kernel_half
from foldpack.competitions.labels.registry import LABELS, label_task
from foldpack.competitions.labels.truth import Source
from foldpack.competitions.protocol import Labelled
from foldpack.data.items import whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.registry import make_reader
from foldpack.errors import DataError
from foldpack.settings.competition import CompetitionConfig


@dataclass(frozen=True)
class TrainableCompetition(DeclaredCompetition):
    """A `Competition`, as `competition.yml` tells of it."""

    config: CompetitionConfig = field(kw_only=True)

    @property
    def task(self) -> str:
        """See `Competition`."""
        return label_task(self.config.labels)

    @property
    def training_reader(self) -> Reader:
        """Of the training images: that of the test images, but for the names in files of many."""
        return make_reader(self.config.images, self.config.train.source)

    def train(self, root: Path) -> Labelled:
        """See `Competition`."""
        listed = item_rules(self.config.model_dump(), "train").items(root)
        if not listed.ids:
            raise DataError(f"{listed.table.source}: the table has no rows; is the download complete?")
        truth = LABELS[self.config.labels.kind](self.config.labels, Source(root, self.config, listed))
        firsts = [rows[0] for rows in listed.rows]
        columns = {name: [cells[row] for row in firsts] for name, cells in listed.table.columns.items()}
        group = self.config.train.group
        groups = None if group is None else listed.table.taken(firsts).rendered(group, "train", "group")
        items = whole_images(listed.ids, [root / path for path in listed.paths], [*listed.notes, *truth.notes],
                             None if listed.answers == listed.ids else listed.answers, self.training_reader)
        return Labelled(listed.table.source, items, truth.targets, truth.classes, truth.labels, columns, truth.none,
                        groups, truth.rows)


def make_competition(config: CompetitionConfig) -> TrainableCompetition:
    """The adapter of a `competition.yml`. Raises DataError for training items of the sample submission."""
    half = kernel_half(config.model_dump(), make_reader(config.images, config.test.source))
    return TrainableCompetition(**vars(half), config=config)
