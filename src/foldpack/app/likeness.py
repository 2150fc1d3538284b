"""The items of the galleries that an image is most like, with their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from foldpack.app.asking import AskedEnsemble, Said
from foldpack.competitions.protocol import Labelled
from foldpack.data.runs import read_run
from foldpack.look.objects import Drawing
from foldpack.look.pictures import picture_of
from foldpack.train.pages.neighbours import gallery_rows

SIDE = 160  # pixels
EACH = 3  # items of an identity


@dataclass(frozen=True)
class Alike:
    """An item of a gallery. cosine: the mean of the networks whose gallery holds it; picture: "" where it is gone."""

    item: str
    cosine: float
    picture: str


class Pictures:
    """Pictures of the training items that galleries hold. note: why there are none."""

    def __init__(self, asked: AskedEnsemble, root: Path) -> None:
        """root: the competition's folder. Raises FoldpackError."""
        self.asked, self.note = asked, ""
        self.labelled: Labelled | None = None
        if asked.stage.task == "embed":
            run = self.run = read_run(asked.runs / asked.units[0].member.run)
            self.labelled = asked.adapter.train(root).take(run.ids, run.folder / "oof.csv")
            self.labelled.items.reader.prepare(self.labelled.items.images)
        self.of = cache(self._of)

    def _of(self, row: int) -> str:
        """A data URI of an item, by its row of the runs."""
        assert self.labelled is not None
        items = self.labelled.items
        return picture_of(items.images[row], Drawing(), items.reader, self.asked.stage.members[0].channels, SIDE)


def likest(said: Said, pictures: Pictures, identity: int) -> list[Alike]:
    """The nearest items of an identity, the nearest first: by cosine, the mean over the networks whose gallery holds an
    item, as their members weigh. All runs of an ensemble have the same items, in the same order."""
    assert pictures.labelled is not None
    ids = pictures.labelled.items.ids
    total, weight = np.zeros(len(ids)), np.zeros(len(ids))
    for unit in said.units:
        gallery = pictures.asked.galleries.asked(unit).gallery
        rows = gallery_rows(pictures.run, pictures.labelled.targets, unit.fold.fold, gallery)
        if rows is None:
            pictures.note = (f"the gallery of {unit.role} has items that its run does not predict, so it shows no "
                             "pictures")
            continue
        places = np.flatnonzero(gallery.identities == identity)
        share = unit.member.weight / len(unit.member.folds)
        total[rows[places]] += share * (gallery.vectors[places] @ said.vectors[unit.role])
        weight[rows[places]] += share
    there = np.flatnonzero(weight)
    cosines = total[there] / weight[there]
    best = np.argsort(-cosines, kind="stable")[:EACH]
    return [Alike(ids[there[k]], float(cosines[k]), pictures.of(int(there[k]))) for k in best]
