"""What views do to pixels, points, boxes and masks, and how it is undone.

Coordinates are pixels of a continuous plane: 0 is the left or top edge, W or H the right or bottom one, and pixel i
covers [i, i + 1). Resampling is bilinear, with a filter as wide as the step where it shrinks (antialiased), computed in
float32. Outside the image lies its mirror image.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch

from foldpack.predict.view import View, ViewError, Window

Size = int | tuple[int, int]  # pixels: side of a square, or height and width
TAP_FLOOR = 1e-6  # weights below it are rounding: without them a crop along pixel borders copies pixels exactly


def stack_views(
    views: list[View], images: torch.Tensor, size: Size | list[tuple[int, int]] | None = None,
    grey: torch.Tensor | None = None
) -> list[tuple[list[int], torch.Tensor]]:
    """All views of a batch, stacked by shape: [(positions in `views`, (len(positions) * B, C, h, w)), ...].

    images: (B, C, H, W) float; grey: the same without colour, for the views that ask for it. size: what every view is
    brought to before its turn, a side or (height, width), or a list with one for each view; None keeps H x W. A view
    that lies on its side is W x H: two stacks where that is no square. Views of a stack follow each other, each with
    its whole batch: `split_views` takes the network's answer apart again. A window that several views share is
    resampled once; the rest are mirrored copies.
    """
    shown: dict[tuple[Window, tuple[int, int], bool], torch.Tensor] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    turned: list[torch.Tensor] = []
    for position, view in enumerate(views):
        wanted = output_size(view, images.shape[-2:], size[position] if isinstance(size, list) else size, False)
        key = view.window, wanted, view.grey
        if key not in shown:
            shown[key] = show_window(view.window, images if grey is None or not view.grey else grey, wanted)
        turned.append(turn_pixels(view.turn, shown[key]))
        groups.setdefault(tuple(turned[-1].shape[-2:]), []).append(position)  # type: ignore[arg-type]
    last = images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last else torch.contiguous_format  # of the batch: what the network likes best
    return [(inside, _stacked([turned[position] for position in inside]).contiguous(memory_format=order))
            for inside in groups.values()]


def _stacked(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def grey_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """(..., 3) RGB, 0 to 255 -> the same shape, float32: the brightness (ITU-R 601-2) in all three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device)
    return (pixels.float() * weights).sum(-1, keepdim=True).expand(pixels.shape)


def split_views(outputs: torch.Tensor, count: int) -> torch.Tensor:
    """(V * B, ...) of a stack of `count` views -> (V, B, ...): row v is what the network said to view v."""
    if count < 1 or len(outputs) % count:
        raise ViewError(f"{len(outputs)} outputs are not the same number for each of {count} views")
    return outputs.unflatten(0, (count, len(outputs) // count))


def apply_view(view: View, images: torch.Tensor, size: Size | None = None) -> torch.Tensor:
    """One view of (..., H, W) -> (..., *size); size None: H x W. Where the view lies on its side both change places.

    Where no resampling is needed, pixels are moved as they are, any dtype; else floats are interpolated, and other
    dtypes (masks, label maps) take the nearest pixel.
    """
    before = output_size(view, images.shape[-2:], size, False)
    return turn_pixels(view.turn, show_window(view.window, images, before))


def output_size(view: View, image_size: tuple[int, ...], size: Size | None, turned: bool = True) -> tuple[int, int]:
    """(height, width) of what a view shows of an image (H, W), before or after its turn."""
    chosen = (int(image_size[-2]), int(image_size[-1])) if size is None else size
    height, width = (chosen, chosen) if isinstance(chosen, int) else chosen
    return (width, height) if turned and view.turn[0] else (height, width)


def turn_pixels(turn: tuple[bool, bool, bool], images: torch.Tensor) -> torch.Tensor:
    """(..., H, W) -> transposed, then mirrored left to right, then top to bottom, where `turn` says so."""
    if turn[0]:
        images = images.transpose(-2, -1)
    axes = [axis for axis, mirrored in ((-1, turn[1]), (-2, turn[2])) if mirrored]
    return images.flip(axes) if axes else images


def unturn_pixels(turn: tuple[bool, bool, bool], images: torch.Tensor) -> torch.Tensor:
    """The inverse of `turn_pixels`."""
    axes = [axis for axis, mirrored in ((-1, turn[1]), (-2, turn[2])) if mirrored]
    images = images.flip(axes) if axes else images
    return images.transpose(-2, -1) if turn[0] else images


def show_window(window: Window, images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resample a window of (..., H, W) to (..., h, w): floats smoothly, other dtypes by the nearest pixel."""
    left, top, right, bottom = window
    images = _resample_axis(images, -2, top, bottom, size[0])
    return _resample_axis(images, -1, left, right, size[1])


def _resample_axis(images: torch.Tensor, axis: int, start: Fraction, end: Fraction, count: int) -> torch.Tensor:
    length = images.shape[axis]
    if (start, end, count) == (0, 1, length):
        return images
    smooth = images.is_floating_point()
    index, weights = _tap_tensors(start * length, end * length, length, count, smooth, images.device)
    if len(index) == 1:
        return images.index_select(axis, index[0])
    shape = (-1, 1) if axis == -2 else (-1,)
    total = torch.zeros((), device=images.device)
    for taken, weight in zip(index, weights, strict=True):
        total = total + images.index_select(axis, taken).float() * weight.reshape(shape)
    return total.to(images.dtype)


@lru_cache(maxsize=512)
def _tap_tensors(
    start: Fraction, end: Fraction, length: int, count: int, smooth: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    index, weights = window_taps(float(start), float(end), length, count, smooth)
    with torch.inference_mode(False):  # the cache outlives the caller's mode
        return torch.from_numpy(index).to(device), torch.from_numpy(weights).to(device)


def window_taps(start: float, end: float, length: int, count: int, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which of `length` pixels make up each of `count` pixels of [start, end), and with what weights.

    Returns (K, count) int64 indices and (K, count) float32 weights whose columns sum to 1. Centres outside the image
    are mirrored into it; smooth: a triangle of at least one pixel, as wide as a step; else the nearest pixel.
    """
    step = (end - start) / count
    centres = np.mod(start + (np.arange(count) + 0.5) * step, 2.0 * length)
    centres = np.where(centres > length, 2.0 * length - centres, centres)
    if not smooth:
        nearest = np.clip(np.floor(centres + 1e-9), 0, length - 1).astype(np.int64)
        return nearest[None], np.ones((1, count), dtype=np.float32)
    reach = max(1.0, step)
    first = np.floor(centres - reach - 0.5 + 1e-9) + 1
    index = first + np.arange(int(np.ceil(2 * reach)))[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(index + 0.5 - centres) / reach)
    weights[(index < 0) | (index >= length) | (weights < TAP_FLOOR)] = 0.0
    used = weights.any(axis=1)
    weights = weights[used] / weights.sum(axis=0)
    return np.clip(index[used], 0, length - 1).astype(np.int64), weights.astype(np.float32)


def apply_points(
    view: View, points: np.ndarray, image_size: tuple[int, int], size: Size | None = None
) -> np.ndarray:
    """(..., 2) x, y in pixels of an image (H, W) -> float64, in pixels of its view (see `apply_view` for `size`)."""
    height, width = output_size(view, image_size, size, False)
    left, top, right, bottom = view.window
    x = _along(points[..., 0], left * image_size[1], width / ((right - left) * image_size[1]))
    y = _along(points[..., 1], top * image_size[0], height / ((bottom - top) * image_size[0]))
    if view.turn[0]:
        x, y, width, height = y, x, height, width
    return np.stack([width - x if view.turn[1] else x, height - y if view.turn[2] else y], axis=-1)


def undo_points(
    view: View, points: np.ndarray, image_size: tuple[int, int], size: Size | None = None
) -> np.ndarray:
    """The inverse of `apply_points`: (..., 2) in pixels of the view -> in pixels of the image (H, W), float64."""
    height, width = output_size(view, image_size, size, False)
    shown_width, shown_height = (height, width) if view.turn[0] else (width, height)
    x, y = np.asarray(points[..., 0], dtype=np.float64), np.asarray(points[..., 1], dtype=np.float64)
    x = shown_width - x if view.turn[1] else x
    y = shown_height - y if view.turn[2] else y
    if view.turn[0]:
        x, y = y, x
    left, top, right, bottom = view.window
    return np.stack([_back_along(x, left * image_size[1], width / ((right - left) * image_size[1])),
                     _back_along(y, top * image_size[0], height / ((bottom - top) * image_size[0]))], axis=-1)


def _along(values: np.ndarray, start: Fraction, scale: Fraction) -> np.ndarray:
    """Multiplied by an exact fraction: dividing by its denominator keeps whole numbers whole."""
    return (np.asarray(values, dtype=np.float64) - float(start)) * scale.numerator / scale.denominator


def _back_along(values: np.ndarray, start: Fraction, scale: Fraction) -> np.ndarray:
    return values * scale.denominator / scale.numerator + float(start)


def apply_boxes(view: View, boxes: np.ndarray, image_size: tuple[int, int], size: Size | None = None) -> np.ndarray:
    """(..., 4) xyxy in pixels of an image (H, W) -> float64 xyxy in pixels of its view, not clipped."""
    corners = np.stack([boxes[..., :2], boxes[..., 2:]], axis=-2)
    return _boxes_around(apply_points(view, corners, image_size, size))


def undo_boxes(view: View, boxes: np.ndarray, image_size: tuple[int, int], size: Size | None = None) -> np.ndarray:
    """The inverse of `apply_boxes`: (..., 4) xyxy in pixels of the view -> in pixels of the image, not clipped."""
    corners = np.stack([boxes[..., :2], boxes[..., 2:]], axis=-2)
    return _boxes_around(undo_points(view, corners, image_size, size))


def _boxes_around(corners: np.ndarray) -> np.ndarray:
    """(..., 2, 2) two opposite corners -> (..., 4) xyxy."""
    return np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)


def undo_masks(
    view: View, masks: torch.Tensor, image_size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (..., h, w) of a view -> (..., H, W) of the image, and (H, W) bool: where the view saw the image.

    Floats are interpolated, other dtypes take the nearest pixel. A turn of a mask that is as large as the image is
    exact; what a crop did not see is 0.
    """
    left, top, right, bottom = view.window
    wide, high = right - left, bottom - top
    whole = (-left / wide, -top / high, (1 - left) / wide, (1 - top) / high)  # the image, in shares of the window
    restored = show_window(whole, unturn_pixels(view.turn, masks), image_size)
    covered = torch.outer(_inside(top, bottom, image_size[0]), _inside(left, right, image_size[1])).to(masks.device)
    if not bool(covered.all()):
        restored = restored * covered if masks.dtype != torch.bool else restored & covered
    return restored, covered


def _inside(start: Fraction, end: Fraction, length: int) -> torch.Tensor:
    """(length,) bool: which pixels' centres lie in [start, end) of the side."""
    centres = torch.arange(length, dtype=torch.float64) + 0.5
    return (centres >= float(start * length)) & (centres <= float(end * length))
