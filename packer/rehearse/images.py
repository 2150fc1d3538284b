"""Test sets to rehearse with: a competition's own images or images of noise, shuffled, with one that is broken.

An adapter says where an image lies, so any will do that lists its items from the sample submission.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.competitions.answer_table import AnswerTable, read_sample, write_answers
from foldpack.competitions.image_files import is_image_name
from foldpack.competitions.protocol import Competition
from foldpack.data.image_place import image_file
from foldpack.data.items import Items
from foldpack.data.readers.pillow import PillowReader
from foldpack.files import link_or_copy, write_atomic
from foldpack.settings.stages import StageSpec
from packer.rehearse.noise import noise_file
from packer.rehearse.process import RehearsalError

SEED = 7


@dataclass(frozen=True)
class SampleImages:
    """Test images of a competition's folder to rehearse with: those of these ids, in this order."""

    root: Path
    sample: AnswerTable  # of the whole folder
    images: dict[str, list[Path]]  # what is answered -> its images below `root` that can be decoded: files, or in files
    broken: str = ""  # the answer of which an image is cut off after half of its bytes

    @property
    def ids(self) -> list[str]:
        """Each once."""
        return list(self.images)

    def count(self, ids: Iterable[str]) -> int:
        """How many images these answers are of."""
        return sum(len(self.images.get(item, ())) for item in ids)

    @property
    def broken_image(self) -> Path | None:
        """The image that is cut off."""
        return next((path for path in self.images.get(self.broken, ()) if image_file(path) == path), None)

    def take(self, rows: list[int]) -> SampleImages:
        """Some of it, in this order."""
        ids = self.ids
        return dataclasses.replace(self, images={ids[row]: self.images[ids[row]] for row in rows})

    def shuffled(self, count: int) -> SampleImages:
        """The first so many of it (or all), in another order; the same one at every call."""
        return self.take(np.random.default_rng(SEED).permutation(min(count, len(self.images))).tolist())

    def with_broken(self, spared: list[str]) -> SampleImages:
        """One of them broken, if it can be one that is not spared and has a file of its own."""
        others = [item for item, paths in self.images.items() if item not in spared
                  and any(image_file(path) == path for path in paths)]
        return dataclasses.replace(self, broken=others[len(others) // 2]) if others else self


def images_of(competition: Competition, data: Path) -> tuple[SampleImages, int]:
    """The test images of a competition that are there, and how many its sample submission asks for."""
    items = competition.test(data)
    sample = read_sample(data / competition.sample_csv, competition.id_column)
    there: dict[str, list[Path]] = {}
    for item, path in zip(items.answer or items.ids, items.images, strict=True):
        if image_file(path) and path not in there.get(item, ()):
            there.setdefault(item, []).append(path)
    if not there:
        raise RehearsalError(f"{items.images[0].parent if len(items) else data}: none of the {len(items)} images that "
                             f"{competition.sample_csv} asks for is there; complete the download, or rehearse without "
                             "data")
    return SampleImages(data, sample, there), len(items)


def noise_images(
    competition: Competition, stage: StageSpec, side: int, folder: Path, count: int, channels: int = 3
) -> SampleImages:
    """A competition's folder with images that no network has seen, of about `side` pixels, where the adapter looks
    for those of made-up ids. stage: that answers.

    Raises DataError where the adapter needs more than a sample submission.
    """
    if folder.exists():
        shutil.rmtree(folder)
    dice = np.random.default_rng(SEED)
    ids = [f"rehearsal_{row:05d}" for row in range(count)]
    items = made_up_items(competition, stage, folder, ids)
    if isinstance(items.reader, PillowReader) and not is_image_name(items.images[0].name):  # an id has its ending
        items = made_up_items(competition, stage, folder, [f"{item}.png" for item in ids])
    for path in items.images:
        height, width = (int(length) for length in dice.integers(side * 3 // 4, side * 3 // 2, 2))
        coarse = Image.fromarray(dice.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC)
        write_atomic(path, noise_file(items.reader, image, channels, path.suffix))
    return images_of(competition, folder)[0]


def made_up_items(competition: Competition, stage: StageSpec, folder: Path, ids: list[str]) -> Items:
    """Write a sample submission that asks for these ids -> what the adapter makes of it."""
    write_answers(folder / competition.sample_csv, competition.made_up(ids, stage))
    return competition.test(folder)


def write_competition(competition: Competition, tests: SampleImages, folder: Path) -> Path:
    """A competition's folder that asks for these images. Of the other files of `root` those beside the sample come
    along: an adapter may read them."""
    rows: dict[str, list[list[str]]] = {}
    for row in tests.sample.rows:
        rows.setdefault(row[tests.sample.id_place], []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(tests.root.iterdir()):
        if path.is_file() and path.name != competition.sample_csv:
            link_anew(path, folder / path.name)
    for file in dict.fromkeys(filter(None, map(image_file, chain(*tests.images.values())))):
        link_anew(file, folder / os.path.relpath(file, tests.root))
    if (broken := tests.broken_image) is not None:
        whole, target = broken.read_bytes(), folder / os.path.relpath(broken, tests.root)
        target.unlink(missing_ok=True)  # a link to the whole one
        write_atomic(target, whole[: len(whole) // 2])
    table = dataclasses.replace(tests.sample, rows=[row for item in tests.images for row in rows[item]])
    write_answers(folder / competition.sample_csv, table)
    return folder


def link_anew(path: Path, target: Path) -> None:
    """A link to the file, or a copy, in place of what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    link_or_copy(path, target)
