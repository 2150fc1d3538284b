"""Scores of boxes, points and masks: what is in each image, in truth and as found, -> a number. Greater is better.

They are no metrics that a run or a search can follow: nothing of ours finds objects yet. They score answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.metrics.detection import coco_ap, imaterialist_ap, run_lengths
from foldpack.metrics.kuzushiji import kuzushiji_f1
from foldpack.metrics.masks import dice_hausdorff, mask_precision, mean_dice

MOST_BOXES = 100  # of a class and image, in COCO's own score


@dataclass(frozen=True, eq=False)
class Objects:
    """What is in one image: n objects, none where n is 0. A metric says which of the optional parts it needs."""

    label: np.ndarray  # (n,) class of each: text or numbers
    box: np.ndarray | None = None  # (n, 4) x_min, y_min, x_max, y_max in pixels
    point: np.ndarray | None = None  # (n, 2) x, y; None: the centres of the boxes
    mask: np.ndarray | None = None  # (n, H, W) bool; (0, H, W) of none
    score: np.ndarray | None = None  # (n,) of what was found, higher is surer; None: all alike, in their order
    volume: str = ""  # images of one volume are its slices, in the order in which they are given


Image = tuple[Objects, Objects]  # in truth, and as found


@dataclass(frozen=True)
class ObjectMetric:
    """A score of objects. function(pairs) -> float."""

    name: str
    function: Callable[[list[Image]], float]
    needs: str = "objects"
    greater_is_better: bool = True

    def __call__(self, truth: Sequence[Objects], found: Sequence[Objects]) -> float:
        """The score of as many images on both sides. Raises FoldpackError for another number of them, or parts that
        the metric needs and that are missing."""
        if len(truth) != len(found):
            raise FoldpackError(f"metric '{self.name}': {len(truth)} images in truth and {len(found)} answers; needed: "
                                "one an image, in the same order")
        return self.function(list(zip(truth, found, strict=True)))


def box_map(pairs: list[Image], limit: float | None = None) -> float:
    """Mean over classes of the average precision of boxes; `limit` of IoU, or the mean over .50:.95 (COCO).

    With one limit all boxes count; without, the best 100 of each class and image. Precision is read at 101 recalls, as
    COCO does. NaN without any true box.
    """
    return _coco(pairs, "bbox", limit)


def mask_map(pairs: list[Image], limit: float | None = None) -> float:
    """`box_map` of masks."""
    return _coco(pairs, "segm", limit)


def _coco(pairs: list[Image], kind: str, limit: float | None) -> float:
    labels = sorted({str(label) for image in pairs for side in image for label in side.label})
    truth: dict = {"images": [{"id": number, **_size(true, kind)} for number, (true, _) in enumerate(pairs)],
                   "annotations": [], "categories": [{"id": label} for label in labels]}
    results: list[dict] = []
    for number, (true, found) in enumerate(pairs):
        truth["annotations"] += _coco_objects(true, number, kind)
        scores = np.ones(len(found.label)) if found.score is None else found.score
        results += [{**one, "score": float(score)}
                    for one, score in zip(_coco_objects(found, number, kind), scores, strict=True)]
    most = MOST_BOXES if limit is None else max([1, *(len(found.label) for _, found in pairs)])
    return coco_ap(truth, results, kind, most, None if limit is None else [limit])


def _size(side: Objects, kind: str) -> dict[str, int]:
    """Height and width, where masks need them."""
    return {} if kind == "bbox" else dict(zip(("height", "width"), part(side, "mask").shape[1:], strict=True))


def _coco_objects(side: Objects, image: int, kind: str) -> list[dict]:
    """Objects as COCO writes them."""
    if kind == "bbox":
        boxes = part(side, "box").astype(np.float64).reshape(-1, 4)
        places: list = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
    else:
        places = [run_lengths(mask) for mask in part(side, "mask")]
    key = "bbox" if kind == "bbox" else "segmentation"
    return [{"image_id": image, "category_id": str(label), key: place}
            for label, place in zip(side.label, places, strict=True)]


def part(side: Objects, name: str) -> np.ndarray:
    """A part that a metric needs. Raises FoldpackError where it is missing."""
    found = {"box": side.box, "mask": side.mask}[name]
    if found is None:
        raise FoldpackError(f"this metric needs the {name} of every object, and there is none")
    return np.asarray(found)


def point_f1(pairs: list[Image]) -> float:
    """F1 of points with a label, each strictly inside a true box of that label (kuzushiji): `metrics.kuzushiji`."""
    truth = [(_corner_and_size(part(true, "box")), true.label) for true, _ in pairs]
    return kuzushiji_f1(truth, [(_points(found), found.label) for _, found in pairs])


def _corner_and_size(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])


def _points(found: Objects) -> np.ndarray:
    if found.point is not None:
        return np.asarray(found.point).reshape(-1, 2)
    boxes = part(found, "box").reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def whole_mask(side: Objects, label: object = None) -> np.ndarray:
    """(H, W) bool: all masks of an image together, or those of a label."""
    masks = part(side, "mask")
    if label is not None:
        masks = masks[[one == label for one in side.label]] if len(side.label) else masks
    return np.asarray(masks.astype(bool).any(axis=0))


def image_dice(pairs: list[Image]) -> float:
    """Mean over images of the Dice of all their masks together; 1 where an image has none on both sides."""
    return mean_dice(*_whole_masks(pairs))


def class_dice(pairs: list[Image]) -> float:
    """Mean over images and classes of the Dice; 1 where both are empty. Classes: all that occur on either side."""
    every = [(whole_mask(true, label), whole_mask(found, label)) for label in _labels(pairs) for true, found in pairs]
    return mean_dice([true for true, _ in every], [found for _, found in every])


def image_precision(pairs: list[Image]) -> float:
    """`masks.mask_precision` of all masks of an image together."""
    return mask_precision(*_whole_masks(pairs))


def volume_score(pairs: list[Image]) -> float:
    """`masks.dice_hausdorff`: Dice of each image and class, Hausdorff of each volume and class."""
    slices: list[tuple[np.ndarray, np.ndarray]] = []
    volumes: list[tuple[np.ndarray, np.ndarray]] = []
    for label in _labels(pairs):
        of: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for true, found in pairs:
            of.setdefault(true.volume, []).append((whole_mask(true, label), whole_mask(found, label)))
        for stack in of.values():
            slices += stack
            volumes.append((np.stack([true for true, _ in stack]), np.stack([found for _, found in stack])))
    return dice_hausdorff(slices, volumes)


def _whole_masks(pairs: list[Image]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [whole_mask(true) for true, _ in pairs], [whole_mask(found) for _, found in pairs]


def _labels(pairs: list[Image]) -> list:
    """All labels, those of the truth and others that were found."""
    return sorted({label for image in pairs for side in image for label in np.asarray(side.label).tolist()}, key=str)


def mask_ap(pairs: list[Image]) -> float:
    """`detection.imaterialist_ap`, the masks of each image best first."""
    truth = [(part(true, "mask").astype(bool), true.label) for true, _ in pairs]
    found = []
    for _, one in pairs:
        order = np.arange(len(one.label)) if one.score is None else np.argsort(-one.score, kind="stable")
        found.append((part(one, "mask").astype(bool)[order], np.asarray(one.label)[order]))
    return imaterialist_ap(truth, found)


OBJECT_METRICS: dict[str, ObjectMetric] = {
    "box_map": ObjectMetric("box_map", box_map),
    "mask_map": ObjectMetric("mask_map", mask_map),
    "mask_ap": ObjectMetric("mask_ap", mask_ap),
    "mask_precision": ObjectMetric("mask_precision", image_precision),
    "dice": ObjectMetric("dice", image_dice),
    "class_dice": ObjectMetric("class_dice", class_dice),
    "dice_hausdorff": ObjectMetric("dice_hausdorff", volume_score),
    "point_f1": ObjectMetric("point_f1", point_f1),
}
WITH_LIMIT: dict[str, Callable[..., float]] = {"box_map": box_map, "mask_map": mask_map}  # "box_map:0.4": at that IoU


def is_of_objects(name: str) -> bool:
    """Whether a name is that of a score of objects, whatever stands behind its colon."""
    return name.partition(":")[0] in OBJECT_METRICS


def get_object_metric(name: str) -> ObjectMetric:
    """The score of that name; `box_map:0.4` is at one limit of IoU. Raises FoldpackError, naming the nearest."""
    base, colon, text = name.partition(":")
    if name in OBJECT_METRICS:
        return OBJECT_METRICS[name]
    if base not in OBJECT_METRICS:
        allowed = sorted([*OBJECT_METRICS, *(f"{one}:0.5" for one in WITH_LIMIT)])
        raise FoldpackError(f"metric '{name}' of objects is not known: {did_you_mean(name, allowed)}")
    if base not in WITH_LIMIT:
        raise FoldpackError(f"metric '{name}' is not known: '{base}' takes nothing behind a colon")
    try:
        limit = float(text)
    except ValueError:
        limit = float("nan")
    if not 0 < limit < 1:
        raise FoldpackError(f"metric '{name}' is not known: behind '{base}:' stands a limit of IoU between 0 and 1, "
                            f"such as {base}:0.5")
    return ObjectMetric(f"{base}:{limit:g}", partial(WITH_LIMIT[base], limit=limit))
