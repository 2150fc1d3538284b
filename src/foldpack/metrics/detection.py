"""Average precision of boxes and masks: COCO's by faster-coco-eval, and iMaterialist's mean over images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from foldpack.errors import FoldpackError

COCO_KEYS = {"bbox": "bbox", "segm": "segmentation"}
NO_PACKAGE = ("COCO AP needs the package faster-coco-eval, got none; install the extra 'detection': "
              "pip install -e '.[detection]'")
IMATERIALIST_LIMITS = np.arange(0.5, 1.0, 0.05)


def coco_ap(truth: dict, results: list[dict], kind: str = "bbox", limit: int = 100,
            ious: list[float] | None = None) -> float:
    """COCO's AP, mean over IoU .50:.95 and classes; 0 without any result, NaN without any object in the truth.

    truth: a COCO dictionary (images, annotations, categories); results: COCO results, each with `bbox` (x, y, width,
    height) or `segmentation` as `kind`, "bbox" or "segm", says. limit: in each image only so many results of a class
    count, best scores first; COCO's own rule is 100. ious: other limits of IoU; one that is just reached counts. Ids
    may be any numbers or texts, annotations need none; neither argument is changed. The package faster-coco-eval does
    the work. Raises FoldpackError when it is missing, and for a result or annotation of an image or a class that the
    truth does not list.
    """
    if kind not in COCO_KEYS:
        raise FoldpackError(f"COCO AP of {kind!r} is not known; use bbox or segm")
    if limit < 1:
        raise FoldpackError(f"COCO AP with limit {limit}; it must be 1 or more")
    scene, found = _renumbered(truth, results, COCO_KEYS[kind])
    if all(annotation["iscrowd"] for annotation in scene["annotations"]):
        return float("nan")
    if not found:
        return 0.0
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]
    except ImportError:
        raise FoldpackError(NO_PACKAGE) from None
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(scene)
        judge = COCOeval_faster(known, known.loadRes(found), kind)
        judge.params.maxDets = [limit]
        if ious is not None:
            judge.params.iouThrs = np.array(ious)
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 0]  # IoU limits, recalls, classes; of all sizes; -1: undefined
    return float(precision[precision > -1].mean())


def _renumbered(truth: dict, results: list[dict], key: str) -> tuple[dict, list[dict]]:
    """Copies with what the score needs, ids from 1 on. The COCO tools take an annotation with id 0 for one that nothing
    matched, keep one of two with the same id, and read image ids as numbers."""
    ids = {name: {one["id"]: number for number, one in enumerate(truth[what], 1)}
           for name, what in (("image_id", "images"), ("category_id", "categories"))}

    def placed(one: dict, what: str, needed: tuple[str, ...]) -> dict:
        for name, known in ids.items():
            if one.get(name) not in known:
                raise FoldpackError(f"COCO AP: {what} has {name} {one.get(name)!r}, which the truth does not list")
        if missing := [name for name in needed if name not in one]:
            raise FoldpackError(f"COCO AP: {what} has no {missing[0]!r}, got: {', '.join(one)}")
        numbers = {name: known[one[name]] for name, known in ids.items()}
        if np.isnan(one.get("score", 0.0)):
            raise FoldpackError(f"COCO AP: {what} has the score NaN; each needs a number")
        values = {name: value.tolist() if isinstance(value := one[name], np.ndarray) else value for name in needed}
        return {"bbox": [0.0, 0.0, 1.0, 1.0], **values, **numbers}

    # Masks are not compared by their boxes, and `area` only tells small from large, which is not looked at here.
    annotations = [{**placed(one, f"annotation {number} of the truth", (key,)), "id": number, "area": 1.0,
                    "iscrowd": int(one.get("iscrowd", 0))} for number, one in enumerate(truth["annotations"], 1)]
    scene = {"images": [{**one, "id": ids["image_id"][one["id"]]} for one in truth["images"]],
             "categories": [{"id": number} for number in ids["category_id"].values()], "annotations": annotations}
    return scene, [placed(one, f"result {number}", (key, "score")) for number, one in enumerate(results, 1)]


def run_lengths(mask: np.ndarray) -> dict:
    """(H, W) bool -> COCO's compressed run lengths. Raises FoldpackError without faster-coco-eval."""
    try:
        from faster_coco_eval.core.mask import encode  # type: ignore[import-untyped]
    except ImportError:
        raise FoldpackError(NO_PACKAGE) from None
    return dict(encode(np.asfortranarray(mask.astype(np.uint8))))


def mask_ious(true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """(T, G) float64 intersection over union. true: (T, H, W) bool; guessed: (G, H, W) bool."""
    a, b = (masks.reshape(len(masks), int(np.prod(masks.shape[1:]))).astype(np.float32) for masks in (true, guessed))
    both = (a @ b.T).astype(np.float64)
    either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None] - both
    return both / np.maximum(either, 1)


def imaterialist_ap(truth: Sequence, predicted: Sequence, limits: np.ndarray = IMATERIALIST_LIMITS) -> float:
    """Mean over images of the mean over classes of the mean over IoU limits of TP / (TP + FP + FN).

    truth: for each image (masks (T, H, W) bool, labels (T,)); predicted: for each image (masks (G, H, W) bool, labels
    (G,)), best first. A class on one side only counts 0; an image empty on both counts 1. Attributes are not looked
    at: this is the offline form of the winner of 2019 (amirassov), not the official text.
    """
    pairs = zip(truth, predicted, strict=True)
    return float(np.mean([_image_ap(true[0], true[1], guess[0], guess[1], limits) for true, guess in pairs]))


def _image_ap(masks, labels, guessed_masks, guesses, limits) -> float:
    labels, guesses = np.asarray(labels), np.asarray(guesses)  # of a list, `== one` would be no mask
    classes = np.union1d(labels, guesses)
    if not len(classes):
        return 1.0
    scores = []
    for one in classes:
        ious = mask_ious(masks[labels == one], guessed_masks[guesses == one])
        scores.append(np.mean([_share_matched(ious, limit) for limit in limits]))
    return float(np.mean(scores))


def _share_matched(ious: np.ndarray, limit: float) -> float:
    """TP / (TP + FP + FN); predictions in order take the free true mask they overlap most."""
    free = np.ones(len(ious), dtype=bool)
    hits = 0
    for column in ious.T:
        open_to = np.where(free, column, -1.0)
        if open_to.size and open_to.max() > limit:
            free[open_to.argmax()] = False
            hits += 1
    return hits / max(ious.shape[0] + ious.shape[1] - hits, 1)
