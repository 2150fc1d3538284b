"""All that `foldpack look` shows of a competition, gathered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from foldpack.competitions.protocol import Competition, Labelled
from foldpack.data.readers.protocol import Reader
from foldpack.look.image_facts import ImageFacts, find_image_facts, spread_rows
from foldpack.look.label_facts import LabelFacts, find_label_facts, label_texts

GUESS = re.compile(r"^\s*#\s*((?:guess|could not tell)\b.*)$", re.IGNORECASE | re.MULTILINE)
Report = Callable[[str, float], None]  # (what is done, its share)


@dataclass(frozen=True)
class Shown:
    """One item on the page."""

    row: int  # among the items
    item: str
    image: Path
    texts: list[str]


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
    items: tuple[int, int]  # of train and test
    shown: list[Shown]
    shown_test: list[Shown]
    reader: Reader  # of all images
    guesses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)  # first lines of the submission of which nothing is known

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
        return lines + self.labels.notes + self.notes


def survey_competition(competition: Competition, root: Path, config: Path | None, most: int, shown: int,
                       report: Report) -> Survey:
    """Read labels and items, look at images. config: `competition.yml`, for its guesses; most: images to decode of each
    split; shown: items on the page. Raises DataError."""
    labelled, test = competition.train(root), competition.test(root)
    train = labelled.items
    guesses = GUESS.findall(config.read_text(encoding="utf-8")) if config is not None else []
    facts = [find_image_facts(items, most, partial(report, what))
             for what, items in (("training images", train), ("test images", test))]
    chosen, asked = mixed_rows(labelled, shown), spread_rows(len(test.ids), shown)
    return Survey(
        competition.name, competition.slug, root, facts[0], facts[1], find_label_facts(labelled),
        group_text(labelled), (len(train), len(test)),
        [Shown(row, train.ids[row], train.images[row], label_texts(labelled, row)) for row in chosen],
        [Shown(row, test.ids[row], test.images[row], []) for row in asked],
        train.reader, guesses, [*train.notes, *test.notes])


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
    groups = getattr(labelled, "groups", None)
    if not groups:
        return "none: folds may part any two items"
    sizes = Counter(groups)
    return f"{len(sizes)} of {len(groups)} items, the largest of {max(sizes.values())}"

