"""A competition that a file tells of, with its training items and what is known of them. No kernel has this half."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from foldpack.competitions.answers.registry import form_of
from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.item_rules import ItemRules
from foldpack.competitions.labels.registry import LABELS, label_task
from foldpack.competitions.labels.truth import Source
from foldpack.competitions.protocol import Labelled
from foldpack.competitions.sources.registry import find_source
from foldpack.data.items import whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.data.readers.registry import make_reader
from foldpack.errors import DataError
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.item_sources import ItemsConfig

IN_ONE_FILE = ("json", "bson")  # readers of files that hold many images


@dataclass(frozen=True)
class TrainableCompetition(DeclaredCompetition):
    """A `Competition`, as `competition.yml` tells of it."""

    config: CompetitionConfig = field(kw_only=True)

    @property
    def task(self) -> str:
        """See `Competition`."""
        return label_task(self.config.labels)

    @property
    def kernel_half(self) -> DeclaredCompetition:
        """What a kernel needs."""
        return DeclaredCompetition(**{each.name: getattr(self, each.name) for each in fields(DeclaredCompetition)})

    @property
    def training_reader(self) -> Reader:
        """Of the training images: that of the test images, but for the names in files of many."""
        return make_reader(self.config.images, self.config.train.source)

    def train(self, root: Path) -> Labelled:
        """See `Competition`."""
        rules = item_rules(self.config, self.config.train, "train")
        listed = rules.items(root)
        if not listed.ids:
            raise DataError(f"{listed.table.source}: the table has no rows; is the download complete?")
        truth = LABELS[self.config.labels.kind](self.config.labels, Source(root, self.config, listed))
        firsts = [rows[0] for rows in listed.rows]
        columns = {name: [cells[row] for row in firsts] for name, cells in listed.table.columns.items()}
        group = self.config.train.group
        groups = None if group is None else listed.table.taken(firsts).rendered(group, "train", "group")
        items = whole_images(listed.ids, [root / path for path in listed.paths], [*listed.notes, *truth.notes],
                             None if listed.answers == listed.ids else listed.answers,
                             self.training_reader)
        return Labelled(listed.table.source, items, truth.targets, truth.classes, truth.labels, columns, truth.none,
                        groups, truth.rows)


def item_rules(config: CompetitionConfig, items: ItemsConfig, split: str) -> ItemRules:
    """How the items of a split are read. Raises DataError for training items of the sample submission."""
    source = items.source.model_dump(exclude_defaults=True, exclude={"kind"})
    kind = items.source.kind
    if kind == "sample":
        if split == "train":
            raise DataError(f"competition '{config.name}': train.source: the sample submission tells of test items "
                            "only; name the file that tells of the training items")
        kind, source = "csv", {"file": config.answer.sample}
    return ItemRules(find_source(kind), source, items.id, items.image, split, items.answer, items.parse, items.where,
                     config.images.reader in IN_ONE_FILE)


def make_competition(config: CompetitionConfig) -> TrainableCompetition:
    """The adapter of a `competition.yml`."""
    rules = item_rules(config, config.test, "test")
    alone = rules.folder != item_rules(config, config.train, "train").folder
    reader = make_reader(config.images, config.test.source)
    return TrainableCompetition(config.name, config.slug, form_of(config.answer), rules, alone, reader, config=config)
