"""The decoded images of one kernel run: kept where there is room, decoded again where there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from foldpack.data.geometry import CanvasKind
from foldpack.data.items import Items
from foldpack.engine.runlog import RunLog
from foldpack.predict.canvas import CanvasSet
from foldpack.predict.room import Place
from foldpack.predict.scratch import keep_canvases


def open_canvases(items: Items, uses: Mapping[CanvasKind, int], places: Sequence[Place], readers: int,
                  log: RunLog) -> CanvasSet:
    """Decoded images as far as there is room for them, and a line that says what is kept where.

    uses: units that read each kind; readers: processes that read, and share the cores where they decode again.
    """
    threads = max(1, (os.cpu_count() or 1) // readers)
    pixels, kept = keep_canvases(items, uses, places, threads, log.say)
    log.note("decoded images", kept=[each.text() for each in kept if each.rows],
             streamed=[each.text() for each in kept if not each.rows])
    return CanvasSet(items, uses, pixels, say=log.say)
