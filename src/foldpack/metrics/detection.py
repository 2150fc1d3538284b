"""Average precision of boxes and masks: COCO's by faster-coco-eval, and iMaterialist's mean over images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from foldpack.errors import FoldpackError

IMATERIALIST_LIMITS = np.arange(0.5, 1.0, 0.05)


def coco_ap(truth: dict, results: list[dict], kind: str = "bbox") -> float:
    """COCO's AP, mean over IoU .50:.95 and classes; 0 without any result.

    truth: a COCO dictionary (images, annotations, categories); results: COCO results; kind: "bbox" or "segm". The
    package faster-coco-eval does the work. Raises FoldpackError when it is missing.
    """
    if kind not in ("bbox", "segm"):
        raise FoldpackError(f"COCO AP of {kind!r} is not known; use bbox or segm")
    if not results:
        return 0.0
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]
    except ImportError:
        raise FoldpackError(
            "COCO AP needs the package faster-coco-eval, got none; install the extra 'detection': "
            "pip install -e '.[detection]'"
        ) from None
    with contextlib.redirect_stdout(io.StringIO()):
        scene = COCO(truth)
        judge = COCOeval_faster(scene, scene.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(max(judge.stats[0], 0.0))


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
