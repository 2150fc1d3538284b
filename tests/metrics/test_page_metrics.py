"""Scores of pages, boxes and masks against worked examples and loops from the definition."""

import sys

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from foldpack.errors import FoldpackError
from foldpack.metrics.detection import coco_ap, imaterialist_ap, mask_ious
from foldpack.metrics.kuzushiji import kuzushiji_f1, match_page
from foldpack.metrics.registry import get_metric

RNG = np.random.default_rng(5)


def organiser(truth, predicted):
    """The organiser's rule, as one would write it down: page by page, box by box, point by point."""
    hits = false = missed = 0
    for (boxes, labels), (points, guesses) in zip(truth, predicted, strict=True):
        free = list(range(len(points)))
        for (x, y, w, h), label in zip(boxes, labels, strict=True):
            for k in free:
                if guesses[k] == label and x < points[k][0] < x + w and y < points[k][1] < y + h:
                    hits += 1
                    free.remove(k)
                    break
            else:
                missed += 1
        false += len(free)
    return 0.0 if hits == 0 else 2 * hits / (2 * hits + false + missed)


def test_kuzushiji_equals_the_rule_on_random_pages():
    truth, predicted = [], []
    for _ in range(60):
        count, guesses = RNG.integers(0, 12), RNG.integers(0, 15)
        truth.append((RNG.integers(0, 60, (count, 4)), RNG.integers(0, 4, count)))
        predicted.append((RNG.integers(0, 100, (guesses, 2)), RNG.integers(0, 4, guesses)))
    assert kuzushiji_f1(truth, predicted) == pytest.approx(organiser(truth, predicted))
    assert kuzushiji_f1(truth, predicted) > 0


def test_a_point_on_the_edge_is_outside_and_a_point_is_used_once():
    box, label = np.array([[10, 10, 5, 5]]), np.array([1])
    assert match_page(box, label, np.array([[10, 12]]), np.array([1])) == (0, 1, 1)
    assert match_page(box, label, np.array([[12, 12]]), np.array([1])) == (1, 0, 0)
    twice = np.array([[10, 10, 5, 5], [10, 10, 5, 5]])
    assert match_page(twice, np.array([1, 1]), np.array([[12, 12]]), np.array([1])) == (1, 0, 1)
    assert kuzushiji_f1([(np.zeros((0, 4)), np.zeros(0))], [(np.zeros((0, 2)), np.zeros(0))]) == 0.0


def scene():
    images = [{"id": k, "width": 100, "height": 100} for k in range(4)]
    annotations, results = [], []
    for k in range(16):
        x, y, w, h = (float(v) for v in (*RNG.integers(0, 60, 2), *RNG.integers(10, 35, 2)))
        box = [x, y, w, h]
        polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        annotations.append({"id": k + 1, "image_id": k % 4, "category_id": k % 2 + 1, "bbox": box, "area": w * h,
                            "iscrowd": 0, "segmentation": polygon})  # fmt: skip
        moved = [x + float(RNG.normal(0, 3)), y, w, h]
        results.append({"image_id": k % 4, "category_id": k % 2 + 1, "bbox": moved, "score": float(RNG.random())})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}, results


def test_coco_ap_is_the_packages_first_number_and_knows_perfect_and_nothing():
    truth, results = scene()
    known = COCO(truth)
    judge = COCOeval_faster(known, known.loadRes(results), "bbox")
    judge.run()
    assert coco_ap(truth, results) == pytest.approx(judge.stats[0])
    assert 0.1 < coco_ap(truth, results) < 1
    exact = [{"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
             for a in truth["annotations"]]  # fmt: skip
    assert coco_ap(truth, exact) == pytest.approx(1.0)
    masks = [one | {"segmentation": a["segmentation"]} for one, a in zip(exact, truth["annotations"], strict=True)]
    assert coco_ap(truth, masks, "segm") == pytest.approx(1.0)
    assert coco_ap(truth, []) == 0.0
    with pytest.raises(FoldpackError, match="COCO AP of 'keypoints' is not known; use bbox or segm"):
        coco_ap(truth, results, "keypoints")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    truth, results = scene()
    with pytest.raises(FoldpackError, match=r"needs the package faster-coco-eval.*pip install -e '\.\[detection\]'"):
        coco_ap(truth, results)


def test_scores_of_pages_are_not_offered_where_no_command_could_use_them():
    for name in ("kuzushiji_f1", "coco_box_ap", "coco_mask_ap", "imaterialist_ap"):
        with pytest.raises(FoldpackError, match=f"metric '{name}' is not known"):
            get_metric(name)


def test_mask_ious_count_pixels():
    true = np.zeros((2, 8, 8), dtype=bool)
    true[0, :4], true[1, :, :2] = True, True
    ious = mask_ious(true, true)
    assert ious == pytest.approx(np.array([[1, 8 / 40], [8 / 40, 1]]))


def test_imaterialist_averages_images_classes_and_limits():
    square = np.zeros((1, 10, 10), dtype=bool)
    square[0, :, :8] = True  # 80 pixels
    part = np.zeros((1, 10, 10), dtype=bool)
    part[0, :, :6] = True  # IoU 0.75
    empty = (np.zeros((0, 10, 10), dtype=bool), np.zeros(0, int))
    one, two = np.array([1]), np.array([2])
    assert imaterialist_ap([(square, one)], [(square, one)]) == 1.0
    assert imaterialist_ap([(square, one)], [(part, one)]) == pytest.approx(0.5)  # above .5 .55 .6 .65 .7
    assert imaterialist_ap([(square, one)], [(square, two)]) == 0.0
    assert imaterialist_ap([empty, (square, one)], [empty, (part, one)]) == pytest.approx(0.75)
    assert imaterialist_ap([empty], [(square, one)]) == 0.0
