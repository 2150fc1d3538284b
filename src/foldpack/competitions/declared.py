"""A competition that a file tells of, `competition.yml`: what a kernel needs of it. Training adds `training_items`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foldpack.competitions.answer_table import AnswerTable, read_sample
from foldpack.competitions.answers.check import check_submission, known_of
from foldpack.competitions.answers.form import Form
from foldpack.competitions.item_rules import ItemList, ItemRules
from foldpack.data.answers import Answers
from foldpack.data.decode import PILLOW
from foldpack.data.items import Items, whole_images
from foldpack.data.readers.protocol import Reader
from foldpack.errors import DataError
from foldpack.settings.stages import StageSpec


@dataclass(frozen=True)
class DeclaredCompetition:
    """A `Competition`, but for `train`."""

    name: str
    slug: str
    form: Form  # of the answer
    rules: ItemRules  # of the test items
    alone: bool = True  # whether the folder of the test images holds no others
    reader: Reader = PILLOW  # of all images

    @property
    def sample_csv(self) -> str:
        """See `Competition`."""
        return self.form.answer.sample

    @property
    def id_column(self) -> str:
        """See `Competition`."""
        return self.form.answer.id

    def made_up(self, ids: Sequence[str], stage: StageSpec) -> AnswerTable:
        """See `Competition`."""
        return self.form.made_up(ids, stage.outputs.names)

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """See `Competition`."""
        return self.form.fill(answers, ids, sample)

    def check(self, path: Path, stage: StageSpec, root: Path | None = None) -> None:
        """See `Competition`."""
        sample = None if root is None else read_sample(root / self.sample_csv, self.id_column)
        check_submission(path, self.form, sample, known_of(stage))

    def test(self, root: Path) -> Items:
        """See `Competition`. The sample submission decides what is answered, and its order; an id that it asks for in
        several rows is one item. What it lacks, and what the folder lacks, is noted."""
        asked = list(dict.fromkeys(read_sample(root / self.sample_csv, self.id_column).ids))
        listed = self.rules.items(root)
        images: dict[str, list[int]] = {}
        for place, answer in enumerate(listed.answers):
            images.setdefault(answer, []).append(place)
        self.check_ids(asked, listed, images, root)
        ids: list[str] = []
        paths: list[str] = []
        answers: list[str] = []
        for each in asked:
            places = images.get(each, [])
            ids += [listed.ids[place] for place in places] or [each]
            paths += [listed.paths[place] for place in places] or [each]
            answers += [each] * max(1, len(places))
        notes = [*listed.notes, *self.notes(asked, listed, images, paths, root)]
        return whole_images(ids, [root / path for path in paths], notes, None if answers == ids else answers,
                            self.reader)

    def check_ids(self, asked: list[str], listed: ItemList, images: dict[str, list[int]], root: Path) -> None:
        """Raises DataError where the sample calls no item as the source of the test items does, or some without zeros
        that the sample has."""
        unknown = [each for each in asked if each not in images]
        if not unknown or not images:
            return
        sample, one = root / self.sample_csv, next(iter(images))
        bare = {each.lstrip("0"): each for each in images}
        if other := next((each for each in unknown if each.isdecimal() and each.lstrip("0") in bare), None):
            raise DataError(f"{sample}: id '{other}' stands in {listed.table.source} as '{bare[other.lstrip('0')]}': "
                            "one of them has lost its zeros; take the file as it was downloaded")
        if len(unknown) == len(asked):
            raise DataError(f"{sample}: none of its {len(asked)} ids is among the test items, such as '{unknown[0]}'; "
                            f"{listed.table.where(0)} is called '{one}'; set test.answer (or test.id) to what the "
                            "sample calls it")

    def notes(self, asked: list[str], listed: ItemList, images: dict[str, list[int]], paths: list[str],
              root: Path) -> list[str]:
        """What is odd about the test items: lines on those that are too many, and on those that are missing."""
        notes, folder, files = [], root / self.rules.folder, listed.files
        wanted = f"the {len(asked)} that {self.sample_csv} asks for"
        if unasked := [each for each in images if each not in set(asked)]:
            notes.append(f"{listed.table.source}: tells of {len(unasked)} items more than {wanted}, such as "
                         f"'{unasked[0]}'; they are not answered")
        if self.rules.inside:
            missing = [path for path in dict.fromkeys(paths) if not os.path.isfile((root / path).parent)]
        else:
            missing = [path for path in dict.fromkeys(paths) if not files.is_there(path)]
            if self.alone and (more := files.surplus(listed.paths, self.rules.ending)):
                notes.append(f"{folder}: holds {len(more)} images more than {wanted}, such as "
                             f"'{more[0].removeprefix(f'{self.rules.folder}/')}'; they are not answered, so take a "
                             "newer sample if this one is stale")
        if missing:
            notes.append(f"{folder}: {len(missing)} images of {wanted} are missing, such as "
                         f"'{missing[0].removeprefix(f'{self.rules.folder}/')}'; their rows get the prior")
        return notes
