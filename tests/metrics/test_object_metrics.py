"""Scores of objects: perfect, empty and half-right answers, and loops written from the definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from foldpack.errors import FoldpackError
from foldpack.metrics.masks import PRECISION_LIMITS, dice, hausdorff, mask_precision
from foldpack.metrics.objects import OBJECT_METRICS, Objects, get_object_metric

RNG = np.random.default_rng(17)
H, W = 12, 16


def blob(rng=RNG):
    mask = np.zeros((H, W), bool)
    y, x = rng.integers(0, H - 4), rng.integers(0, W - 4)
    mask[y : y + rng.integers(2, 5), x : x + rng.integers(2, 5)] = True
    return mask


def image(count, volume="", rng=RNG):
    masks = np.array([blob(rng) for _ in range(count)]).reshape(count, H, W)
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return Objects(label=np.array(["a", "b", "a"][:count]), box=np.array(boxes, float).reshape(count, 4), mask=masks,
                   score=np.linspace(0.9, 0.5, count), volume=volume)


NOTHING = Objects(np.zeros(0, "U1"), np.zeros((0, 4)), mask=np.zeros((0, H, W), bool), score=np.zeros(0))
SCENE = [image(1, "x"), image(3, "x"), NOTHING, image(2, "y")]


@pytest.mark.parametrize("name", [*OBJECT_METRICS, "box_map:0.4", "box_map:0.5", "mask_map:0.5"])
def test_the_truth_scores_1_and_nothing_scores_less(name):
    score = get_object_metric(name)
    assert score(SCENE, SCENE) == pytest.approx(1.0)
    assert score(SCENE, [NOTHING] * 4) < 0.5
    assert score.greater_is_better and score.needs == "objects"


def test_a_box_counts_from_its_limit_of_iou_on():
    truth = Objects(np.array(["a"]), np.array([[0.0, 0, 10, 10]]))
    moved = Objects(np.array(["a"]), np.array([[5.0, 0, 15, 10]]), score=np.array([0.3]))  # IoU 1/3
    apart = Objects(np.array(["a"]), np.array([[20.0, 20, 22, 22]]), score=np.array([0.3]))
    assert get_object_metric("box_map:0.3")([truth], [moved]) == pytest.approx(1.0)
    assert get_object_metric("box_map:0.4")([truth], [moved]) == 0.0
    assert get_object_metric("box_map:0.4")([truth], [apart]) == 0.0


def test_with_one_limit_more_than_100_boxes_count():
    corners = np.array([[10 * (k % 15), 10 * (k // 15)] for k in range(150)], float)
    many = Objects(np.full(150, "a"), np.hstack([corners, corners + 8]), score=np.linspace(1, 0.1, 150))
    assert get_object_metric("box_map:0.5")([many], [many]) == pytest.approx(1.0)
    assert get_object_metric("box_map")([many], [many]) == pytest.approx(67 / 101)  # COCO's own rule: the best 100


def test_points_are_given_or_are_the_centres_of_boxes():
    truth = image(3)
    centres = Objects(truth.label, point=(truth.box[:, :2] + truth.box[:, 2:]) / 2)
    edge = Objects(truth.label, point=truth.box[:, :2])
    score = get_object_metric("point_f1")
    assert score([truth], [centres]) == score([truth], [truth]) == 1.0
    assert score([truth], [edge]) < 1.0


def test_dice_is_by_image_and_empty_images_count_1():
    true, found = image(2), image(2)
    a, b = true.mask.any(0), found.mask.any(0)
    expected = (2 * (a & b).sum() / (a.sum() + b.sum()) + 1 + 0) / 3
    assert get_object_metric("dice")([true, NOTHING, NOTHING], [found, NOTHING, found]) == pytest.approx(expected)
    assert dice(a, a) == dice(~a & a, a & ~a) == 1.0
    with pytest.raises(FoldpackError, match=r"the true mask has shape \(12, 16\), the predicted one \(2, 16\)"):
        dice(a, a[:2])


def test_class_dice_is_by_image_and_class():
    true, found = image(2), image(2)
    a, b = (2 * (t & f).sum() / (t.sum() + f.sum()) for t, f in zip(true.mask, found.mask, strict=True))
    assert get_object_metric("class_dice")([true, NOTHING], [found, NOTHING]) == pytest.approx((a + b + 2) / 4)


def test_mask_precision_is_the_rule_and_an_empty_answer_is_never_a_full_one():
    truth = [blob() for _ in range(30)] + [np.zeros((H, W), bool)] * 2 + [np.ones((H, W), bool)]
    guesses = [true ^ (blob() & (RNG.random((H, W)) < 0.3)) for true in truth[:30]]
    guesses += [np.zeros((H, W), bool), blob(), np.zeros((H, W), bool)]
    scores = []
    for true, guess in zip(truth, guesses, strict=True):
        iou = (true & guess).sum() / (true | guess).sum() if (true | guess).any() else None
        scores.append(1.0 if iou is None else np.mean([iou > limit for limit in PRECISION_LIMITS]))
    assert scores[-3:] == [1.0, 0.0, 0.0]
    assert mask_precision(truth, guesses) == pytest.approx(np.mean(scores))


def test_hausdorff_equals_the_distance_of_points():
    for _ in range(10):
        true, guess = (np.stack([blob() if RNG.random() < 0.8 else np.zeros((H, W), bool) for _ in range(5)])
                       for _ in range(2))
        if not true.any() or not guess.any():
            continue
        a, b = (np.argwhere(one) / one.shape for one in (true, guess))
        expected = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0]) / np.sqrt(3)
        assert hausdorff(true, guess) == pytest.approx(expected)
    nothing = np.zeros((5, H, W), bool)
    assert np.isnan(hausdorff(nothing, nothing)) and hausdorff(nothing, ~nothing) == 1.0


def test_a_volume_is_scored_class_by_class_and_empty_pairs_are_left_out():
    truth, found = [image(1, "x"), image(2, "x"), NOTHING], [image(1), image(2), NOTHING]
    slices, volumes = [], []
    for label in ("a", "b"):
        def of(side, label=label):
            return side.mask[side.label == label].any(0)
        pairs = [(of(t), of(f)) for t, f in zip(truth, found, strict=True)]
        slices += [dice(*pair) for pair in pairs if pair[0].any() or pair[1].any()]
        volumes.append(hausdorff(np.stack([p[0] for p in pairs[:2]]), np.stack([p[1] for p in pairs[:2]])))
    expected = 0.4 * np.mean(slices) + 0.6 * (1 - np.mean(volumes))
    assert get_object_metric("dice_hausdorff")(truth, found) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "message"), [
    ("dyce", "metric 'dyce' of objects is not known: did you mean 'dice'"),
    ("dice:2", "metric 'dice:2' is not known: 'dice' takes nothing behind a colon"),
    ("box_map:2", "behind 'box_map:' stands a limit of IoU between 0 and 1, such as box_map:0.5"),
    ("box_map:x", "behind 'box_map:' stands a limit"),
])
def test_a_name_that_is_none_says_what_is_allowed(name, message):
    with pytest.raises(FoldpackError, match=message):
        get_object_metric(name)


def test_what_a_metric_lacks_is_said():
    with pytest.raises(FoldpackError, match="metric 'dice': 1 images in truth and 2 answers; needed: one an image"):
        get_object_metric("dice")([NOTHING], [NOTHING, NOTHING])
    with pytest.raises(FoldpackError, match="this metric needs the mask of every object, and there is none"):
        get_object_metric("dice")([Objects(np.array(["a"]))], [NOTHING])
