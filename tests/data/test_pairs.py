"""Pairs of drawings: most are found, groups are cautious, labels are shared, faults are named."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from drawings import KEEP, Drawings, make_drawings

from foldpack.data.pair_looks import MIN_OBJECT, bounding_box, describe, object_mask
from foldpack.data.pair_scores import assign, candidate_sets, fit_weights, partners, tag_evidence
from foldpack.data.pair_styles import object_colours, style_from_pairs
from foldpack.data.pairs import Pairing, conservative_groups, find_pairs, share_labels
from foldpack.errors import DataError

SUBJECTS = 60
MERGE = 0.1


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    return make_drawings(SUBJECTS)


@pytest.fixture(scope="module")
def pairing(drawings: Drawings) -> Pairing:
    return find_pairs(drawings.images, drawings.labels, drawings.complete, KEEP, MERGE)


def test_most_pairs_are_found(drawings: Drawings, pairing: Pairing) -> None:
    paired = pairing.partner >= 0
    right = paired & (drawings.subject[pairing.partner] == drawings.subject)
    assert right.mean() >= 0.8
    assert pairing.partner.dtype == np.int64
    assert (pairing.partner[pairing.partner[paired]] == np.flatnonzero(paired)).all()


def test_the_drawings_of_a_subject_share_a_group(drawings: Drawings, pairing: Pairing) -> None:
    groups = [np.unique(pairing.groups[drawings.subject == subject]) for subject in range(SUBJECTS)]
    assert np.mean([len(group) == 1 for group in groups]) >= 0.9


def test_every_image_is_in_one_group_and_groups_stay_within_the_complete_labels(
        drawings: Drawings, pairing: Pairing) -> None:
    assert pairing.groups.shape == (2 * SUBJECTS,) and pairing.groups.dtype == np.int64
    assert (np.unique(pairing.groups) == np.arange(pairing.groups.max() + 1)).all()
    category = drawings.labels[:, drawings.complete].argmax(axis=1)
    assert all(len(np.unique(category[pairing.groups == group])) == 1 for group in np.unique(pairing.groups))
    paired = np.flatnonzero(pairing.partner >= 0)
    assert (pairing.groups[paired] == pairing.groups[pairing.partner[paired]]).all()


def test_the_styles_are_told_apart(drawings: Drawings, pairing: Pairing) -> None:
    assert ((pairing.style > 0) == ~drawings.shaded).mean() >= 0.9


def test_the_evidence_says_what_was_found(drawings: Drawings, pairing: Pairing) -> None:
    evidence = pairing.evidence
    tags = drawings.labels[:, ~drawings.complete]
    paired = pairing.partner >= 0
    both = (tags[paired] & tags[pairing.partner[paired]]).sum()
    size = np.bincount(pairing.groups)
    assert evidence["odd_sets"] == 0 and evidence["in_pairs"] == paired.mean()
    assert evidence["tag_agreement"] == both / tags[paired].sum() > evidence["tag_agreement_chance"]
    assert (evidence["groups"], evidence["largest_group"]) == (len(size), size.max())
    assert evidence["in_groups_over_2"] == size[size > 2].sum() / (2 * SUBJECTS)
    assert 0.8 < evidence["style_differs"] <= 1
    assert pairing.certainty.min() >= 0 and pairing.certainty.max() <= 1


def test_the_chance_agreement_is_that_of_all_candidates(drawings: Drawings, pairing: Pairing) -> None:
    category = drawings.labels[:, drawings.complete].argmax(axis=1)
    tags = drawings.labels[:, ~drawings.complete]
    i, j = np.nonzero((category[:, None] == category) & ~np.eye(len(category), dtype=bool))
    assert pairing.evidence["tag_agreement_chance"] == pytest.approx((tags[i] & tags[j]).sum() / tags[i].sum())


def test_the_same_input_gives_the_same_pairs_and_a_smaller_merge_coarser_groups(
        drawings: Drawings, pairing: Pairing) -> None:
    cautious = find_pairs(drawings.images, drawings.labels, drawings.complete, KEEP, MERGE / 1000)
    for field in fields(Pairing):
        if field.name not in ("groups", "evidence"):
            assert (getattr(cautious, field.name) == getattr(pairing, field.name)).all(), field.name
    assert cautious.groups.max() < pairing.groups.max()
    for group in range(pairing.groups.max() + 1):
        assert len(np.unique(cautious.groups[pairing.groups == group])) == 1


@pytest.mark.parametrize(("merge", "expected"), [(0.19, [0, 0, 0, 0, 1, 1]), (0.21, [0, 0, 1, 1, 2, 2])])
def test_a_likely_rival_joins_the_group(merge: float, expected: list[int]) -> None:
    scores = np.full((6, 6), -50.0)
    for i, j, likely in [(0, 1, 1.0), (2, 3, 1.0), (4, 5, 1.0), (1, 2, 0.25)]:  # 1 and 2: 0.25 of 1.25, on both sides
        scores[i, j] = scores[j, i] = np.log(likely)
    groups, certainty = conservative_groups([assign(scores)], [scores], [np.arange(6)], merge)
    assert groups.tolist() == expected
    assert certainty == pytest.approx([0.8, 0.8, 0.8, 0.8, 1, 1])


def test_partners_share_the_union_of_their_labels() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=bool)
    shared = share_labels(labels, np.array([1, 0, -1, -1]))
    assert shared.dtype == bool
    assert shared.astype(int).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert labels.sum() == 5  # the input is left as it was


def test_labels_are_not_shared_with_a_wrong_number_of_partners() -> None:
    with pytest.raises(DataError, match="labels of 3 images, partners of 2; each image needs both"):
        share_labels(np.ones((3, 2), dtype=bool), np.array([1, 0]))


IMAGES = np.zeros((6, 32, 32, 3), np.uint8)
LABELS = np.ones((6, 3), bool)
COMPLETE = np.array([True, False, False])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:4]}, "4 images, labels of 6; each image needs a row of labels"),
        ({"images": IMAGES[..., 0]}, r"images of shape \(6, 32, 32\), uint8; expected \(n, h, w, 3\), uint8"),
        ({"images": IMAGES.astype(np.float32)}, "float32; expected .*, uint8"),
        ({"labels": LABELS[0]}, r"labels of shape \(3,\), bool; expected \(n, classes\), bool"),
        ({"labels": LABELS.astype(float)}, r"labels of shape \(6, 3\), float64; expected"),
        ({"complete": COMPLETE[:2]}, r"'complete' of shape \(2,\), bool, for 3 classes; expected one bool for each"),
        ({"complete": COMPLETE.astype(int)}, "expected one bool for each class"),
        ({"complete": ~np.ones(3, bool)}, "none of 3 labels is complete; .* so name some"),
        ({"keep": 1.0}, "keep 1: must be above 0 and below 1; labels that never miss are complete"),
        ({"keep": 0.0}, "keep 0: must be above 0 and below 1"),
        ({"merge": 0.0}, "merge 0: must be above 0 and at most 1"),
        ({"merge": 1.5}, "merge 1.5: must be above 0"),
        ({"labels": np.eye(6, dtype=bool), "complete": np.ones(6, bool)},
         "6 images have 6 different sets of complete labels; too few images are alike, so take fewer labels"),
        ({"labels": np.eye(3, dtype=bool).repeat(2, axis=0), "complete": np.ones(3, bool)},
         "6 images have 3 different sets of complete labels; too few images are alike"),
        ({}, "most of 6 drawings do not differ in style .* must be drawn in two styles"),
    ],
)
def test_each_fault_is_named(changes: dict, message: str) -> None:
    given = {"images": IMAGES, "labels": LABELS, "complete": COMPLETE, **changes}
    with pytest.raises(DataError, match=message):
        find_pairs(**given)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="2 pairs found among 4 images; at least 5 are needed"):
        style_from_pairs(np.zeros((4, 1)), np.zeros(4), np.array([1, 0, 3, 2]))
    circle = [np.array([1, 2, 0])]
    with pytest.raises(DataError, match="no pairs found in 1 sets of more than two images .* fewer complete labels"):
        fit_weights(circle, [np.zeros((3, 3, 2))], [np.arange(3)], np.zeros(3))


def test_an_object_is_what_differs_from_the_commonest_colour_of_the_rim() -> None:
    image = np.full((32, 32, 3), 230, np.uint8)
    image[8:20, 4:] = (200, 30, 30)  # touches the right border
    mask = object_mask(image)
    assert mask.sum() == 12 * 28 and bounding_box(mask) == (8, 19, 4, 31)
    image[8:20, 4:] = 230
    image[0, : MIN_OBJECT - 1] = 0
    assert object_mask(image).all()  # too small for an object


def test_looks_are_finite_also_for_an_image_of_one_colour() -> None:
    images = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 128, 255)])
    looks = describe(images, np.ones((3, 32, 32), bool))
    assert list(looks) == ["colours", "blurred", "edges", "turns", "histogram"]
    assert all(len(look) == 3 and np.isfinite(look).all() for look in looks.values())


def test_small_colours_do_not_count() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[0, 0], image[5:] = (9, 99, 199), 255
    codes, share = object_colours(image, np.ones((10, 10), bool))
    assert share.tolist() == [0.49, 0.5] and len(set(codes)) == 2


def test_tags_speak_for_the_same_subject_when_both_carry_a_rare_one() -> None:
    tags = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]], float)
    ratio = tag_evidence(tags, tags.mean(axis=0), KEEP)
    assert np.allclose(ratio, ratio.T)
    assert ratio[0, 1] > 0 > ratio[0, 2] and ratio[0, 1] > ratio[0, 3]


def test_candidates_have_the_same_complete_labels() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 1], [0, 0], [1, 1]], bool)
    assert [members.tolist() for members in candidate_sets(labels)] == [[0, 2], [1, 4], [3]]


def test_pairs_are_those_who_choose_each_other() -> None:
    scores = np.array([[-9.0, 5, 0, 0, 0], [5, -9, 0, 0, 0], [0, 0, -9, 1, 1], [0, 0, 1, -9, 1], [0, 0, 1, 1, -9]])
    sets = [np.array([7, 3, 0, 1, 2])]
    assert partners([assign(scores)], sets, 8).tolist() == [-1, -1, -1, 7, -1, -1, -1, 3]
