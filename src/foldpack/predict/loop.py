"""The one predict loop: out-of-fold predictions and the kernel both run it, so they can be compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from foldpack.data.geometry import canvas_kind, input_shape
from foldpack.errors import FoldpackError
from foldpack.models.classifier import normalise
from foldpack.predict.device import Precision
from foldpack.predict.pixel_source import HeldPixels, PixelSource
from foldpack.predict.view_pixels import grey_pixels, split_views, stack_views
from foldpack.predict.views import View, parse_view, require_inputs, require_views
from foldpack.settings.network import NetConfig

BATCH_BYTES = 64 * 2**20  # of canvases that are taken at a time, or one


class PredictError(FoldpackError):
    """A network whose output is no number, or that does not fit into the device's memory."""


class Forward:
    """Runs one network over batches; survives a lack of memory and an overflow of half precision.

    Out of memory: the batch is halved and tried again, and the smaller size is kept. NaN or infinity in half precision:
    `needs_fp32` is set, and the unit has to be done again in float32.
    """

    def __init__(self, net: nn.Module, config: NetConfig, views: list[str], device: torch.device, batch_size: int,
                 precision: Precision = "fp32") -> None:
        """net: on `device`, in eval mode. batch_size: images of all views that go through the network at a time."""
        self.net = net
        self.config = config
        self.device = device
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.most_rows = max(1, BATCH_BYTES // canvas_kind(config).most_bytes)
        self.views: list[View] = []
        self.together = 0
        self.use_views(views)

    def use_views(self, names: list[str]) -> None:
        """From now on predict these views. Raises ViewError."""
        if [view.name for view in self.views] == names:
            return
        require_views(names)
        require_inputs(names, self.config)
        self.views = [parse_view(name) for name in names]
        self.together = len(names)  # views in one forward; fewer only where one image under all is too much

    def logits(self, pixels: PixelSource, start: int, stop: int,
               check: Callable[[int], None] | None = None) -> np.ndarray:
        """(V, stop - start, C) float32. `check` gets the rows done before each batch; what it raises goes through.

        Raises PredictError for what is not finite in float32, and for one image that does not fit the device.
        """
        parts: list[np.ndarray] = []
        at = start
        pixels.expect(start, stop)
        while at < stop:
            if check is not None:
                check(at - start)
            rows = min(max(1, self.batch_size // len(self.views)), self.most_rows, stop - at)
            try:
                parts.append(self._batch(pixels.take(at, at + rows)))
            except RuntimeError as failure:
                self._halve(failure, rows)
                continue
            at += rows
        return np.concatenate(parts, axis=1)

    def _batch(self, pixels: np.ndarray | list[np.ndarray]) -> np.ndarray:
        """(B, H, W, C) uint8, or B of (H, W, C): those of one shape at a time, none padded -> (V, B, C') float32."""
        if isinstance(pixels, np.ndarray):
            return self._stack(pixels)
        shapes = [canvas.shape for canvas in pixels]
        groups = [[row for row, own in enumerate(shapes) if own == shape] for shape in dict.fromkeys(shapes)]
        parts = [self._stack(np.stack([pixels[row] for row in group])) for group in groups]
        return np.concatenate(parts, axis=1)[:, np.argsort(np.concatenate(groups))]

    def _stack(self, pixels: np.ndarray) -> np.ndarray:
        """(B, H, W, C) uint8 -> (V, B, C') float32."""
        sizes = [input_shape(self.config, pixels.shape[1:3], view.side) for view in self.views]
        with torch.inference_mode(), reduced_precision(self.device, self.precision):
            batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.device, non_blocking=True)
            images = normalise(batch, self.config)
            grey = normalise(grey_pixels(batch), self.config) if any(view.grey for view in self.views) else None
            answers: list[np.ndarray] = [np.empty(0)] * len(self.views)
            for first in range(0, len(self.views), self.together):
                chosen = slice(first, first + self.together)
                for inside, shown in stack_views(self.views[chosen], images, sizes[chosen], grey):
                    outputs = split_views(self.net(shown).float(), len(inside)).cpu().numpy()
                    for position, answer in zip(inside, outputs, strict=True):
                        answers[first + position] = answer
            logits = np.stack(answers)
        if not np.isfinite(logits).all():
            raise NotFinite(f"{int((~np.isfinite(logits)).sum())} of {logits.size} outputs are not finite")
        return logits

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


class NotFinite(Exception):
    """Outputs that are NaN or infinite."""


def is_out_of_memory(failure: RuntimeError) -> bool:
    """Whether the device, or the CPU's allocator, had too little memory."""
    text = str(failure).lower()
    return isinstance(failure, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


def predict_logits(
    net: nn.Module,
    config: NetConfig,
    pixels: np.ndarray | list[np.ndarray],
    views: list[str],
    device: torch.device,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
    precision: Precision | None = None,
) -> np.ndarray:
    """Logits of every item under every view, (V, n, C) float32.

    net: on `device`, in eval mode. pixels: canvases of the kind that `config` asks for, as `PixelSource.take` gives
    them. precision: by default fp16
    on a GPU and fp32 on the CPU; what overflows in half precision is done again in fp32. `on_batch` is called with the
    number of items done before each batch; what it raises (a deadline) ends the loop. Raises PredictError.
    """
    if not len(pixels):
        raise ValueError("predict_logits needs at least one item; the caller answers an empty test set itself")
    chosen: Precision = precision or ("fp16" if device.type == "cuda" else "fp32")
    forward = Forward(net, config, views, device, batch_size, chosen)
    return finite_logits(forward, HeldPixels(canvas_kind(config), pixels), 0, len(pixels), on_batch)


def finite_logits(forward: Forward, pixels: PixelSource, start: int, stop: int,
                  check: Callable[[int], None] | None = None, source: str = "the network") -> np.ndarray:
    """`forward.logits`; once more in float32, and from then on, when half precision overflows. Raises PredictError."""
    try:
        return forward.logits(pixels, start, stop, check)
    except NotFinite as failure:
        if forward.precision == "fp32":
            raise PredictError(f"{source}: {failure} in float32; the weights are damaged, or the training "
                               "diverged") from None
        print(f"{source}: {failure} in {forward.precision}; going on in float32", flush=True)
        forward.precision = "fp32"
    return finite_logits(forward, pixels, start, stop, check, source)
