"""All that `foldpack look` shows of a competition, gathered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from foldpack.competitions.answer_table import sample_form
from foldpack.competitions.protocol import Competition, Labelled
from foldpack.data.items import Items
from foldpack.data.readers.protocol import Reader
from foldpack.look.image_facts import ImageFacts, find_image_facts, spread_rows
from foldpack.look.label_facts import LabelFacts, find_label_facts, label_texts
from foldpack.look.objects import Drawing, drawing_of
from foldpack.settings.competition import CompetitionConfig

GUESS = re.compile(r"^\s*#\s*((?:guess|could not tell)\b.*)$", re.IGNORECASE | re.MULTILINE)
SAMPLE_LINES, LONGEST_LINE = 4, 160
Report = Callable[[str, float], None]  # (what is done, its share)


@dataclass(frozen=True)
class Shown:
    """One item on the page."""

    row: int  # among the items
    item: str
    image: Path
    texts: list[str]
    drawing: Drawing = field(default_factory=Drawing)


@dataclass(frozen=True)
class Survey:
    """What was understood of a competition."""

    name: str
    slug: str
    root: Path
    train: ImageFacts
    test: ImageFacts
    labels: LabelFacts
    groups: str  # in one line
    items: tuple[str, str]  # how many there are in train and test
    group_of: dict[Path, str]  # of training images that folds must not part
    shown: list[Shown]
    shown_test: list[Shown]
    reader: Reader  # of all images
    channels: int = 3  # that networks get
    guesses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)  # the first lines of the sample submission
    asked: str = ""  # what stands in its cells

    @property
    def warnings(self) -> list[str]:
        """What a competitor should not overlook."""
        lines = []
        for what, facts in (("training", self.train), ("test", self.test)):
            if facts.missing:
                lines.append(f"{len(facts.missing)} of {facts.count} {what} images are not there, such as "
                             f"{facts.missing[0]}")
            lines += facts.broken[:5] + facts.repaired[:5]
            if len(facts.broken) > 5:
                lines.append(f"{len(facts.broken)} of {facts.looked} {what} images that were looked at are broken")
            lines += [facts.depth] if facts.depth else []
        return lines + self.labels.odd + self.notes


def survey_competition(competition: Competition, root: Path, config: CompetitionConfig | None, guesses: list[str],
                       most: int, shown: int, report: Report) -> Survey:
    """Read labels and items, look at images. config: of a competition that a file tells of; guesses: that stand in it;
    most: images to decode of each split; shown: items on the page. Raises DataError."""
    labelled, test = competition.train(root), competition.test(root)
    train = labelled.items
    channels = config.images.channels if config is not None else 3
    facts = [find_image_facts(items, most, partial(report, what), channels)
             for what, items in (("training images", train), ("test images", test))]
    chosen, asked = mixed_rows(labelled, shown), spread_rows(len(test.ids), shown)
    return Survey(
        competition.name, competition.slug, root, facts[0], facts[1], find_label_facts(labelled),
        group_text(labelled), (item_text(train), item_text(test)), group_of(labelled),
        [shown_item(labelled, row) for row in chosen],
        [Shown(row, test.ids[row], test.images[row], []) for row in asked],
        train.reader, channels, guesses, [*train.notes, *test.notes],
        sample_lines(root / competition.sample_csv), answer_text(config))


def item_text(items: Items) -> str:
    """How many there are, and how many answers they belong to."""
    return str(len(items)) if items.answer is None else f"{len(items)} images of {len(set(items.answer))} answers"


def group_of(labelled: Labelled) -> dict[Path, str]:
    """Training image -> its group, or its answer, which folds keep whole too."""
    groups = labelled.groups or labelled.items.answer
    return {} if groups is None else dict(zip(labelled.items.images, groups, strict=True))


def read_guesses(text: str) -> list[str]:
    """What a `competition.yml` says was guessed, or could not be told: its comments that begin so."""
    return GUESS.findall(text)


def sample_lines(path: Path) -> list[str]:
    """The first lines of the sample submission, long ones cut."""
    with open(path, encoding=sample_form(path, [])[1]) as file:
        lines = [line.rstrip("\n") for line in islice(file, SAMPLE_LINES)]
    return [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..." for line in lines]


def answer_text(config: CompetitionConfig | None) -> str:
    """How the answer looks, in one line."""
    if config is None:
        return ""
    said = config.answer.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "sample", "id"})
    return ", ".join([config.answer.kind, *(f"{name} {value}" for name, value in said.items())])


def shown_item(labelled: Labelled, row: int) -> Shown:
    """A training item with all that is known of it."""
    items, rows = labelled.items, labelled.rows
    drawing = Drawing() if rows is None else drawing_of(rows, row)
    return Shown(row, items.ids[row], items.images[row], label_texts(labelled, row), drawing)


def mixed_rows(labelled: Labelled, count: int) -> list[int]:
    """Items for the page: a class after another where each has one, evenly spread otherwise."""
    rows = len(labelled.items.ids)
    if labelled.targets.ndim != 1:
        return spread_rows(rows, count)
    order = np.lexsort((np.arange(rows), occurrence(labelled.targets)))  # the first of each class, then the second
    return sorted(order[:count].tolist(), key=lambda row: (int(labelled.targets[row]), row))


def occurrence(classes: np.ndarray) -> np.ndarray:
    """(n,) how many items of the same class stand before each."""
    seen: Counter[int] = Counter()
    places = np.empty(len(classes), dtype=np.int64)
    for row, k in enumerate(classes.tolist()):
        places[row] = seen[k]
        seen[k] += 1
    return places


def group_text(labelled: Labelled) -> str:
    """The groups that folds keep whole, in one line."""
    if labelled.groups is None:
        return "none: folds may part any two items"
    sizes = Counter(labelled.groups)
    return f"{len(sizes)} of {len(labelled.groups)} items, the largest of {max(sizes.values())}"

