"""What a small drawing looks like, in numbers that survive a change of drawing style: evidence that `pairs` weighs.

Pure functions of uint8 images. The background must be one flat colour. The numbers below were chosen on imet-mini at
64x64 pixels; how much each look counts is learned (`pair_scores`).
"""

from __future__ import annotations

import cv2
import numpy as np

BACKGROUND_STEP = 12  # largest channel difference to the background's colour that a flat background still shows
CORNER_WEIGHT = 8  # votes of a corner on the background's colour: objects touch edges more often than corners
MIN_OBJECT = 20  # pixels; a smaller object means that the background guess failed

BOX = 32  # side to which an object's bounding box is brought, so that place and size of the drawing do not count
GREY = np.array([60.0, 0.0, 0.0], np.float32)  # what replaces the background, in CIE Lab: the same for both drawings
COLOUR_GRID = 8  # cells a side for the colours
BLUR_GRID, BLUR = 10, 2.5  # cells a side, and sigma in box pixels: wide enough to wash out outlines and shading
EDGE_GRID, EDGE_BLUR = 16, 1.5  # cells a side, and sigma: so that edges a pixel or two apart still match
TURN_CELLS, TURN_BINS = 4, 6  # cells a side and directions of 30 degrees each
BIN_BLUR = 0.7  # sigma in bins, so that slightly different colours still match
L_EDGES = np.linspace(0, 100.1, 6)  # of the histogram: CIE Lab of sRGB has L in 0..100, a and b within these limits
A_EDGES = np.linspace(-100, 100, 9)
B_EDGES = np.linspace(-110, 110, 9)
FLAT_NORM = 1e-3  # added to a norm: a box without any edge becomes zeros, not NaN
NO_SPREAD = 1e-9  # added to a spread: a look that is the same for all images stays finite


def object_mask(image: np.ndarray) -> np.ndarray:
    """(h,w,3) uint8 RGB -> (h,w) bool: pixels off the background, the commonest colour on the image's rim.

    All True where fewer than `MIN_OBJECT` pixels are left.
    """
    wide = image.astype(np.int16)
    corners = np.repeat(wide[[0, 0, -1, -1], [0, -1, 0, -1]], CORNER_WEIGHT, axis=0)
    rim = np.concatenate([wide[0], wide[-1], wide[:, 0], wide[:, -1], corners])
    colours, counts = np.unique(rim, axis=0, return_counts=True)
    mask = np.abs(wide - colours[counts.argmax()]).max(-1) > BACKGROUND_STEP
    return mask if mask.sum() >= MIN_OBJECT else np.ones_like(mask)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(h,w) bool with a True pixel -> first and last row, first and last column with one, all inclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def describe(images: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """The looks of every image, by name, each (n,d) float and divided by its own typical distance.

    images: (n,h,w,3) uint8 RGB; masks: (n,h,w) bool. `colours`, `blurred` (both CIE Lab), `edges` (strength) and
    `turns` (strength by direction) are grids over the object's bounding box; `histogram` is of the object's colours.
    """
    rows = [describe_one(image, mask) for image, mask in zip(images, masks, strict=True)]
    looks = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {name: look / typical_distance(look) for name, look in looks.items()}


def describe_one(image: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """The looks of one image, each (d,) float. image: (h,w,3) uint8 RGB; mask: (h,w) bool."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    top, bottom, left, right = bounding_box(mask)
    part = np.s_[top : bottom + 1, left : right + 1]
    box = np.where(mask[part][..., None], lab[part], GREY)
    small = shrink(box, BOX)
    edges, turns = edge_looks(small[..., 0])
    return {
        "colours": shrink(pad_square(box), COLOUR_GRID).ravel(),
        "blurred": shrink(cv2.GaussianBlur(small, (0, 0), BLUR), BLUR_GRID).ravel(),
        "edges": edges,
        "turns": turns,
        "histogram": colour_histogram(lab[mask]),
    }


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """(h,w,c) float32 -> (side,side,c) float32, means of areas."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def edge_looks(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(BOX,BOX) float32 lightness -> how strong its edges are where, and in which direction; both 1-D, of norm 1."""
    across, down = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    edges = cv2.resize(cv2.GaussianBlur(strength, (0, 0), EDGE_BLUR), (EDGE_GRID, EDGE_GRID))
    half_turns = (np.arctan2(down, across) % np.pi) / np.pi  # 0..1; opposite directions are the same edge
    bins = np.minimum(half_turns * TURN_BINS, TURN_BINS - 1).astype(int)
    cell = BOX // TURN_CELLS
    turns = np.stack([(strength * (bins == k)).reshape(TURN_CELLS, cell, TURN_CELLS, cell).sum((1, 3))
                      for k in range(TURN_BINS)])
    return (edges.ravel() / (np.linalg.norm(edges) + FLAT_NORM),
            turns.ravel() / (np.linalg.norm(turns) + FLAT_NORM))


def colour_histogram(lab: np.ndarray) -> np.ndarray:
    """(pixels,3) float32 CIE Lab -> (320,) float: roots of the shares, so that distances are Hellinger's."""
    counts = np.histogramdd(lab, [L_EDGES, A_EDGES, B_EDGES])[0]
    counts = np.stack([cv2.GaussianBlur(plane, (0, 0), BIN_BLUR) for plane in counts])
    return np.sqrt(counts.ravel() / counts.sum())


def pad_square(box: np.ndarray) -> np.ndarray:
    """(h,w,3) float32 -> (side,side,3), the box in the middle of grey, so that its proportions are kept."""
    height, width = box.shape[:2]
    side = max(height, width)
    square = np.broadcast_to(GREY, (side, side, 3)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = box
    return square


def typical_distance(look: np.ndarray) -> np.floating:
    """Median distance between the rows of an (n,d) array and those n//2 further on, a choice without chance."""
    return np.median(np.linalg.norm(look - np.roll(look, len(look) // 2, axis=0), axis=1)) + NO_SPREAD
