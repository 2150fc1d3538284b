"""The one predict loop: out-of-fold predictions and the kernel both run it, so they can be compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from foldpack.data.geometry import canvas_kind
from foldpack.data.rows import Rows
from foldpack.errors import FoldpackError
from foldpack.models.classifier import normalise
from foldpack.predict.batch import Batch, Step, logit_rows
from foldpack.predict.device import Precision
from foldpack.predict.pixel_source import HeldPixels, PixelSource
from foldpack.predict.view import View
from foldpack.predict.view_pixels import grey_pixels
from foldpack.predict.views import parse_views
from foldpack.settings.network import NetConfig

BATCH_BYTES = 64 * 2**20  # of canvases that are taken at a time, or one


class PredictError(FoldpackError):
    """A network whose output is no number, or that does not fit into the device's memory."""


class DivergedError(PredictError):
    """A network whose output is no number in full precision either."""


class Forward:
    """Runs a step of one network over batches; survives a lack of memory and an overflow of half precision.

    Out of memory: the batch is halved and tried again, and the smaller size is kept. NaN or infinity in half precision:
    `needs_fp32` is set, and the unit has to be done again in float32.
    """

    def __init__(self, net: nn.Module, config: NetConfig, views: list[View], device: torch.device, batch_size: int,
                 precision: Precision = "fp32", step: Step = logit_rows) -> None:
        """net: on `device`, in eval mode. batch_size: images of all views that go through the network at a time. step:
        what is done with them; by default the network's outputs are logits."""
        self.net = net
        self.step = step
        self.config = config
        self.device = device
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.most_rows = max(1, BATCH_BYTES // canvas_kind(config).most_bytes)
        self.views: list[View] = []
        self.together = 0
        self.use_views(views)

    def use_views(self, views: list[View]) -> None:
        """From now on predict these views."""
        if self.views != views:
            self.views = views
            self.together = len(views)  # views in one forward; fewer only where one image under all is too much

    def rows(self, pixels: PixelSource, start: int, stop: int,
             check: Callable[[int], None] | None = None) -> list[Rows]:
        """Rows `start` to `stop` of each view. `check` gets the rows done before each batch; what it raises goes
        through.

        Raises NotFinite for numbers that are not finite, and PredictError for one image that does not fit the device.
        """
        parts: list[list[Rows]] = []
        at = start
        pixels.expect(start, stop)
        while at < stop:
            if check is not None:
                check(at - start)
            rows = min(max(1, self.batch_size // len(self.views)), self.most_rows, stop - at)
            try:
                parts.append(self._batch(pixels.take(at, at + rows), pixels.frames(at, at + rows)))
            except RuntimeError as failure:
                self._halve(failure, rows)
                continue
            at += rows
        return [Rows.joined(view) for view in zip(*parts, strict=True)]

    def _batch(self, pixels: np.ndarray | list[np.ndarray], frames: np.ndarray) -> list[Rows]:
        """(B, H, W, C) uint8, or B of (H, W, C): those of one shape at a time, none padded -> B rows of each view."""
        if isinstance(pixels, np.ndarray):
            return self._stack(pixels, frames)
        shapes = [canvas.shape for canvas in pixels]
        groups = [[row for row, own in enumerate(shapes) if own == shape] for shape in dict.fromkeys(shapes)]
        found = [self._stack(np.stack([pixels[row] for row in group]), frames[group]) for group in groups]
        where = sorted((row, number, place) for number, group in enumerate(groups) for place, row in enumerate(group))
        return [Rows.joined([found[number][view].take(slice(place, place + 1)) for _, number, place in where])
                for view in range(len(self.views))]

    def _stack(self, pixels: np.ndarray, frames: np.ndarray) -> list[Rows]:
        """(B, H, W, C) uint8 -> B rows of each view."""
        with torch.inference_mode(), reduced_precision(self.device, self.precision):
            batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.device, non_blocking=True)
            grey = normalise(grey_pixels(batch), self.config) if any(view.grey for view in self.views) else None
            shown = Batch(normalise(batch, self.config), self.config, grey, frames=frames)
            found: list[Rows] = []
            for first in range(0, len(self.views), self.together):
                found += self.step(self.net, shown, self.views[first : first + self.together])
        require_finite(found)
        return found

    def _halve(self, failure: RuntimeError, rows: int) -> None:
        """After a lack of memory: go on with half the batch. Anything else is raised again."""
        if not is_out_of_memory(failure):
            raise failure
        if rows == 1 and self.together == 1:
            raise PredictError(f"one image of {self.config.size} px does not fit into the memory of {self.device}: "
                               f"{str(failure).splitlines()[0]}") from None
        if rows == 1:
            self.together = max(1, self.together // 2)
        else:
            self.batch_size = rows // 2 * len(self.views)
        print(f"{self.device}: out of memory at {self.config.size} px; going on with {max(1, rows // 2)} images and "
              f"{self.together} views at a time", flush=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def reduced_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network runs: autocast to half precision, or not."""
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)


def require_finite(views: list[Rows]) -> None:
    """Raises NotFinite where a number of some column is none."""
    floats = [column for rows in views for column in rows.columns.values() if column.dtype.kind == "f"]
    if wrong := sum(column.size - int(np.isfinite(column).sum()) for column in floats):
        raise NotFinite(f"{wrong} of {sum(column.size for column in floats)} outputs are not finite")


class NotFinite(Exception):
    """Outputs that are NaN or infinite."""


def is_out_of_memory(failure: RuntimeError) -> bool:
    """Whether the device, or the CPU's allocator, had too little memory."""
    text = str(failure).lower()
    return isinstance(failure, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


def predict_views(
    net: nn.Module,
    config: NetConfig,
    pixels: np.ndarray | list[np.ndarray],
    views: list[str],
    device: torch.device,
    batch_size: int,
    step: Step = logit_rows,
    on_batch: Callable[[int], None] | None = None,
    precision: Precision | None = None,
) -> list[Rows]:
    """The rows of every item under each view, as the kernel predicts them.

    net: on `device`, in eval mode. pixels: canvases of the kind that `config` asks for, as `PixelSource.take` gives
    them. step: the task's `predict`. precision: by default fp16 on a GPU and fp32 on the CPU; what overflows in half
    precision is done again in fp32. `on_batch` is called with the number of items done before each batch; what it
    raises (a deadline) ends the loop. Raises PredictError, ViewError.
    """
    if not len(pixels):
        raise ValueError("predict_views needs at least one item; the caller answers an empty test set itself")
    forward = usual_forward(net, config, views, device, batch_size, step, precision)
    return finite_rows(forward, HeldPixels(canvas_kind(config), pixels), 0, len(pixels), on_batch)


def usual_forward(net: nn.Module, config: NetConfig, views: list[str], device: torch.device, batch_size: int,
                  step: Step = logit_rows, precision: Precision | None = None) -> Forward:
    """What predicts as the kernel does. precision: by default fp16 on a GPU and fp32 on the CPU."""
    chosen: Precision = precision or ("fp16" if device.type == "cuda" else "fp32")
    return Forward(net, config, parse_views(views, config), device, batch_size, chosen, step)


def finite_rows(forward: Forward, pixels: PixelSource, start: int, stop: int,
                check: Callable[[int], None] | None = None, source: str = "the network") -> list[Rows]:
    """`forward.rows`; once more in float32, and from then on, when half precision overflows. Raises DivergedError."""
    try:
        return forward.rows(pixels, start, stop, check)
    except NotFinite as failure:
        if forward.precision == "fp32":
            raise DivergedError(f"{source}: {failure} in float32; the weights are damaged, or the training "
                                "diverged") from None
        print(f"{source}: {failure} in {forward.precision}; going on in float32", flush=True)
        forward.precision = "fp32"
    return finite_rows(forward, pixels, start, stop, check, source)
