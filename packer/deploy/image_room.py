"""Where a kernel's decoded images will lie on Kaggle, and what decoding some of them again will cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from foldpack.data.geometry import canvas_kind
from foldpack.engine.units import plan_units
from foldpack.predict.room import RAM_SHARE, SPARE_ROOM, TEMP_LIMIT, Place
from foldpack.predict.scratch import canvas_bytes, plan_canvases
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.outputs import Boxes, Vectors
from foldpack.settings.stages import StageSpec

FREE_MEMORY = 29_000_000_000  # bytes of a GPU session
WORKING_BYTES = 20_000_000_000  # below /kaggle/working
CORES = 4  # of a session with T4 GPUs
BOX_BYTES = 24  # four edges, a score and a label
DECODE_SECONDS = 0.043  # of one core for a JPEG of 2048 x 1366 pixels; docs/decoding.md


@dataclass(frozen=True)
class ImageRoom:
    """What is kept where, and the decodes that are made again."""

    needed: int  # bytes of all decoded images
    kept: list[str]  # a text for each kind
    again: int  # decodes beside the first of each image
    short: bool  # whether whole images find no room; boxes are always cut out of another decode

    @property
    def hours(self) -> float:
        """That decoding again takes, for images that cost as much as the measured one."""
        return self.again * DECODE_SECONDS / CORES / 3600


def room_on_kaggle(spec: EnsembleSpec, images: int, devices: int) -> ImageRoom:
    """What a kernel with so many GPUs will do with so many images, by the rule that it follows itself.

    Stages come one after the other, and each makes room for the next.
    """
    rooms = [room_of_stage(stage, images, devices) for stage in spec.stages]
    return ImageRoom(max(room.needed for room in rooms), [text for room in rooms for text in room.kept],
                     sum(room.again for room in rooms), any(room.short for room in rooms))


def room_of_stage(stage: StageSpec, images: int, devices: int) -> ImageRoom:
    """The same of one stage."""
    units = plan_units(stage)
    uses = Counter(canvas_kind(unit.member) for unit in units)
    predictions = images * row_bytes(stage) * len(units)
    working = max(0, WORKING_BYTES - SPARE_ROOM - predictions)
    places = [Place(Path("/tmp"), TEMP_LIMIT), Place(Path("/kaggle/working"), working)]
    if devices == 1:  # several GPUs have a process each, and how much memory these may share is not known before
        places.insert(0, Place(None, int(FREE_MEMORY * RAM_SHARE)))
    plan = plan_canvases(images, uses, places)
    again = sum((images - kept.rows) * uses[kept.kind] for kept in plan)
    whole = [kept for kept in plan if kept.kind.geometry.kind != "box"]
    return ImageRoom(canvas_bytes(images, [kept.kind for kept in whole]), [kept.text() for kept in plan], again,
                     any(kept.rows < images for kept in whole))


def row_bytes(stage: StageSpec) -> int:
    """Bytes of what a unit says of an image, at most."""
    outputs = stage.outputs
    if isinstance(outputs, Boxes):
        return BOX_BYTES * outputs.most
    return 4 * (outputs.dim if isinstance(outputs, Vectors) else len(outputs.names))
