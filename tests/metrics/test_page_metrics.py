"""Scores of pages, boxes and masks against worked examples and loops from the definition."""

import copy
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
                            "iscrowd": 0, "segmentation": polygon})
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
             for a in truth["annotations"]]
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
    for name in ("point_f1", "box_map", "box_map:0.4", "mask_ap", "dice"):
        line = (f"metric '{name}' scores boxes, points or masks: no run can follow it and no search climb it, until "
                "there are networks for them; allowed: accuracy, auc")
        with pytest.raises(FoldpackError, match=line):
            get_metric(name)


def box_iou(a, b):
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def coco_by_hand(truth, results, limit):
    """COCO's definition written down: greedy matches by score, 101 recalls, mean over limits and classes."""
    scores = []
    for kind in {one["category_id"] for one in truth["annotations"]}:
        for threshold in np.arange(0.5, 1.0, 0.05):
            marks, count = [], 0
            for image in truth["images"]:
                def of(rows, image=image, kind=kind):
                    return [one for one in rows if (one["image_id"], one["category_id"]) == (image["id"], kind)]
                free = of(truth["annotations"])
                count += len(free)
                for one in sorted(of(results), key=lambda one: -one["score"])[:limit]:
                    best = max(free, key=lambda box, one=one: box_iou(box["bbox"], one["bbox"]), default=None)
                    hit = best is not None and box_iou(best["bbox"], one["bbox"]) >= threshold
                    if hit:
                        free.remove(best)
                    marks.append((one["score"], hit))
            hits = np.cumsum([hit for _, hit in sorted(marks, key=lambda mark: -mark[0])])
            precision, recall = hits / np.arange(1, len(marks) + 1), hits / count
            scores.append(np.mean([max(precision[recall >= r - 1e-12], default=0.0) for r in np.linspace(0, 1, 101)]))
    return np.mean(scores)


def with_ids(truth, results, images, classes, annotations):
    """The same scene under other ids. images, classes: what an id becomes; annotations: ids, or None for none."""
    def moved(one):
        return {**one, "image_id": images(one["image_id"]), "category_id": classes(one["category_id"])}

    marked = [moved(one) for one in truth["annotations"]]
    for place, one in enumerate(marked):
        one.pop("id") if annotations is None else one.update(id=annotations[place])
    other = {"images": [{**one, "id": images(one["id"])} for one in truth["images"]], "annotations": marked,
             "categories": [{"id": classes(one["id"])} for one in truth["categories"]]}
    return other, [moved(one) for one in results]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_coco_ap_equals_the_definition(limit):
    truth, results = scene()
    assert coco_ap(truth, results, limit=limit) == pytest.approx(coco_by_hand(truth, results, limit))
    few = results[::3]
    assert coco_ap(truth, few, limit=limit) == pytest.approx(coco_by_hand(truth, few, limit))


@pytest.mark.parametrize(
    ("images", "classes", "annotations"),
    [
        (int, int, list(range(16))),  # from 0: the COCO tools take the first for one that nothing matched
        (int, int, [7] * 16),
        (int, int, None),
        (lambda k: f"page_{k}", lambda k: f"U+{k}", [f"a{k}" for k in range(16)]),
        (lambda k: f"{k:03d}" if k else "0", lambda k: k - 1, list(range(-8, 8))),
    ],
)
def test_coco_ap_does_not_care_how_things_are_numbered(images, classes, annotations):
    truth, results = scene()
    other = with_ids(truth, results, images, classes, annotations)
    before = copy.deepcopy(other)
    assert coco_ap(*other) == coco_ap(truth, results)
    assert other == before


def test_a_single_object_with_id_0_is_found():
    truth = {"images": [{"id": 0, "width": 9, "height": 9}], "categories": [{"id": 0}],
             "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 1, 5, 5]}]}
    assert coco_ap(truth, [{"image_id": 0, "category_id": 0, "bbox": [1, 1, 5, 5], "score": 0.5}]) == 1.0


def test_a_page_with_more_boxes_than_coco_looks_at_needs_a_limit():
    boxes = [[15.0 * (k % 40), 15.0 * (k // 40), 10.0, 10.0] for k in range(1200)]
    truth = {"images": [{"id": 1, "width": 600, "height": 600}], "categories": [{"id": 1}],
             "annotations": [{"id": k, "image_id": 1, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)]}
    found = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in boxes]
    assert coco_ap(truth, found, limit=1200) == 1.0 == coco_ap(truth, found, limit=10_000)
    assert coco_ap(truth, found) == pytest.approx(9 / 101)  # 100 of 1,200: recalls up to .08
    assert coco_ap(truth, found, limit=600) == pytest.approx(51 / 101)


def test_coco_ap_takes_arrays_and_refuses_a_score_that_is_no_number():
    truth, results = scene()
    arrays = [one | {"bbox": np.array(one["bbox"]), "score": np.float32(one["score"])} for one in results]
    assert coco_ap(truth, arrays) == pytest.approx(coco_ap(truth, results))
    with pytest.raises(FoldpackError, match=r"COCO AP: result 2 has the score NaN; each needs a number"):
        coco_ap(truth, [results[0], results[1] | {"score": float("nan")}])


def test_coco_ap_without_truth_is_not_a_number_and_strangers_are_refused():
    truth, results = scene()
    nothing = {**truth, "annotations": []}
    crowd = {**truth, "annotations": [one | {"iscrowd": 1} for one in truth["annotations"]]}
    assert all(np.isnan(coco_ap(one, results)) for one in (nothing, crowd))
    for changes, message in (
        ({"image_id": 9}, "COCO AP: result 16 has image_id 9, which the truth does not list"),
        ({"category_id": 0}, "COCO AP: result 16 has category_id 0, which the truth does not list"),
    ):
        with pytest.raises(FoldpackError, match=message):
            coco_ap(truth, [*results[:-1], results[-1] | changes])
    with pytest.raises(FoldpackError, match="result 1 has no 'segmentation', got: image_id, category_id, bbox, score"):
        coco_ap(truth, results, "segm")
    with pytest.raises(FoldpackError, match="COCO AP with limit 0; it must be 1 or more"):
        coco_ap(truth, results, limit=0)


def test_masks_are_compared_as_masks_with_or_without_boxes():
    truth, results = scene()
    polygons = [one["segmentation"] for one in truth["annotations"]]
    masks = [one | {"segmentation": polygon} for one, polygon in zip(results, polygons, strict=True)]
    bare = [{name: value for name, value in one.items() if name != "bbox"} for one in masks]
    assert coco_ap(truth, masks, "segm") == coco_ap(truth, bare, "segm") == pytest.approx(1.0)


def test_lists_are_as_good_as_arrays():
    square = np.ones((1, 4, 4), dtype=bool)
    assert imaterialist_ap([(square, [1])], [(square, [1])]) == 1.0
    assert match_page([[10, 10, 5, 5]], ["a"], [[12, 12]], ["a"]) == (1, 0, 0)


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
