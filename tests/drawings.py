"""Subjects that are drawn twice, in two styles, with complete categories and tags of which some are missing.

Every third subject has a near twin of its category: the same shapes, some in another ink, and some other tags.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 64
CATEGORIES = 4  # complete labels, one a subject; the columns before the tags
TAGS = 24
KEEP = 0.85  # share of a subject's tags that each of its drawings carries
INKS = np.array([(214, 40, 57), (29, 120, 190), (250, 176, 5), (47, 158, 68), (103, 65, 217), (240, 101, 149),
                 (73, 80, 87), (21, 170, 191), (160, 90, 44), (130, 201, 30)])


@dataclass(frozen=True)
class Drawings:
    """Two rows for each subject, in shuffled order."""

    images: np.ndarray  # (2n, SIDE, SIDE, 3) uint8 RGB
    labels: np.ndarray  # (2n, CATEGORIES + TAGS) bool
    complete: np.ndarray  # (CATEGORIES + TAGS,) bool
    subject: np.ndarray  # (2n,) int: the truth
    shaded: np.ndarray  # (2n,) bool: the style


def make_drawings(subjects: int, seed: int = 0) -> Drawings:
    """Draw every subject flat and shaded."""
    rng = np.random.default_rng(seed)
    tags = rng.random((subjects, TAGS)) < 0.3
    drawn: list[list[tuple[np.ndarray, np.ndarray]]] = []
    images, labels = [], []
    for subject in range(subjects):
        other = subject - CATEGORIES  # the last of the same category
        if subject % 3 == 0 and other >= 0:
            tags[subject] = np.where(rng.random(TAGS) < 0.5, tags[other], tags[subject])
            shapes = [(corners, random_ink(rng) if rng.random() < 0.5 else ink) for corners, ink in drawn[other]]
        else:
            shapes = random_shapes(rng)
        drawn.append(shapes)
        category = np.arange(CATEGORIES) == subject % CATEGORIES
        for shaded in (False, True):
            images.append(draw(shapes, shaded, rng))
            labels.append(np.concatenate([category, tags[subject] & (rng.random(TAGS) < KEEP)]))
    order = rng.permutation(2 * subjects)
    complete = np.arange(CATEGORIES + TAGS) < CATEGORIES
    return Drawings(np.stack(images)[order], np.stack(labels)[order], complete, order // 2, order % 2 == 1)


def random_shapes(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two to four polygons with an ink each: (corners, 2) float in pixels, (3,) RGB."""
    shapes = []
    for _ in range(rng.integers(2, 5)):
        angles = np.sort(rng.random(rng.integers(3, 8)) * 2 * np.pi)
        radius = rng.uniform(9, 20, len(angles))
        middle = rng.uniform(22, 42, 2)
        corners = middle + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shapes.append((corners, random_ink(rng)))
    return shapes


def random_ink(rng: np.random.Generator) -> np.ndarray:
    return INKS[rng.integers(len(INKS))]


def draw(shapes: list[tuple[np.ndarray, np.ndarray]], shaded: bool, rng: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 on a pastel background: flat fills, or fills that darken downwards, a little shifted."""
    image = np.broadcast_to(rng.integers(215, 250, 3).astype(np.uint8), (SIDE, SIDE, 3)).copy()
    light = np.linspace(1.15, 0.7, SIDE)[:, None, None]
    shift = rng.uniform(-2, 2, 2)
    for corners, ink in shapes:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(mask, [np.rint(corners + shift).astype(np.int32)], 1)
        fill = np.clip(ink * light, 0, 255) if shaded else np.broadcast_to(ink, (SIDE, 1, 3))
        image = np.where(mask[..., None] > 0, fill.astype(np.uint8), image)
    return image
