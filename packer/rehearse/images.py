"""Test sets to rehearse with: a competition's own images or images of noise, shuffled, with one that is broken."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from foldpack.competitions.image_table import ImageTable, read_table, read_test_items
from foldpack.files import link_or_copy, write_atomic
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.network import height_width
from packer.rehearse.process import RehearsalError

CORRUPT = "foldpack_corrupt"  # id of the broken image
SEED = 7


@dataclass(frozen=True)
class SampleImages:
    """Test images to rehearse with: ids and files that can be decoded, and the sample's answers."""

    ids: list[str]
    paths: list[Path]
    answers: list[str]

    def take(self, rows: list[int]) -> SampleImages:
        """Some of it, in this order."""
        return SampleImages([self.ids[row] for row in rows], [self.paths[row] for row in rows],
                            [self.answers[row] for row in rows])

    def shuffled(self, count: int) -> SampleImages:
        """The first so many of it (or all), in another order; the same one at every call."""
        return self.take(np.random.default_rng(SEED).permutation(min(count, len(self.ids))).tolist())


def images_of(layout: ImageTable, data: Path) -> tuple[SampleImages, int]:
    """The test images of a competition that are there, and how many its sample submission lists."""
    items = read_test_items(layout, data)
    sample = read_table(data / layout.sample_csv, [layout.id_column, layout.label_column])
    answers = sample[layout.label_column].tolist()
    there = [row for row, path in enumerate(items.images) if Path(path).is_file()]
    if not there:
        raise RehearsalError(f"{data / layout.test_folder}: none of the {len(items)} images that {layout.sample_csv} "
                             "asks for is there; complete the download, or rehearse without data")
    return SampleImages(items.ids, [Path(path) for path in items.images], answers).take(there), len(items)


def noise_images(layout: ImageTable, spec: EnsembleSpec, folder: Path, count: int) -> SampleImages:
    """Images that no network has seen, in the format and about the size that the competition has."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(SEED)
    largest = max(max(height_width(member.size)) for member in spec.members)
    pages = next((member.channels for member in spec.members if member.channels not in (1, 3, 4)), 0)
    suffix = layout.suffix or ".png"
    names = [f"rehearsal_{row:05d}" for row in range(count)]
    for name in names:
        height, width = (int(side) for side in dice.integers(largest * 3 // 4, largest * 3 // 2, 2))
        coarse = Image.fromarray(dice.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        kind = Image.registered_extensions().get(suffix.lower(), "PNG")
        if pages:  # channels that only the pages of a TIFF can be
            image.save(buffer, format="TIFF", save_all=True, append_images=[image] * (pages - 1))
        else:
            image.save(buffer, format=kind)
        write_atomic(folder / f"{name}{suffix}", buffer.getvalue())
    ids = names if layout.suffix else [name + suffix for name in names]
    return SampleImages(ids, [folder / f"{name}{suffix}" for name in names], [spec.last.outputs.names[0]] * count)


def with_corrupt(layout: ImageTable, tests: SampleImages, folder: Path) -> SampleImages:
    """The set with one image more in its middle, cut off after half of its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = layout.suffix or tests.paths[0].suffix
    broken = folder / f"{CORRUPT}{suffix}"
    whole = tests.paths[0].read_bytes()
    write_atomic(broken, whole[: len(whole) // 2])
    at = len(tests.ids) // 2
    item = CORRUPT if layout.suffix else broken.name
    return SampleImages([*tests.ids[:at], item, *tests.ids[at:]], [*tests.paths[:at], broken, *tests.paths[at:]],
                   [*tests.answers[:at], tests.answers[0], *tests.answers[at:]])


def write_competition(layout: ImageTable, tests: SampleImages, folder: Path) -> Path:
    """A competition's folder that asks for these images."""
    (folder / layout.test_folder).mkdir(parents=True, exist_ok=True)
    for item, path in zip(tests.ids, tests.paths, strict=True):
        target = folder / layout.test_folder / f"{item}{layout.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(path, target)
    table = pd.DataFrame({layout.id_column: tests.ids, layout.label_column: tests.answers})
    write_atomic(folder / layout.sample_csv, table.to_csv(index=False, lineterminator="\n"))
    return folder
