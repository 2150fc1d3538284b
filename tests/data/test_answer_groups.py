"""Images that are answered together: which they are, and the mean of what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldpack.competitions.protocol import Labelled
from foldpack.data.answer_groups import answer_groups
from foldpack.data.items import Items, boxes_of, whole_images
from foldpack.data.rows import Rows
from foldpack.errors import DataError


def items_of(answer: list[str] | None, count: int) -> Items:
    return whole_images([f"i{k}" for k in range(count)], [Path(f"{k}.png") for k in range(count)], answer=answer)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.data())
def test_the_mean_is_that_of_a_loop(answer: list[str], data: st.DataObject) -> None:
    """By brute force: in the order of the first images, without what is lost, unless all is."""
    values = np.random.default_rng(len(answer)).random((len(answer), 3), dtype=np.float32)
    lost = np.array(data.draw(st.lists(st.booleans(), min_size=len(answer), max_size=len(answer))))
    groups = answer_groups(answer)
    if groups is None:
        assert len(set(answer)) == len(answer)
        return
    assert groups.names == list(dict.fromkeys(answer))
    assert groups.first.tolist() == [answer.index(name) for name in groups.names]
    got = groups.mean(values, lost)
    for name, mean in zip(groups.names, got, strict=True):
        own = [row for row, word in enumerate(answer) if word == name]
        there = [row for row in own if not lost[row]] or own[:1]
        assert np.abs(mean - values[there].mean(axis=0)).max() <= 1e-6
    chosen = np.array(data.draw(st.lists(st.integers(0, len(groups) - 1), max_size=5)), dtype=int)
    images, starts = groups.part(chosen)
    assert [[answer[row] for row in images[first:end]] for first, end in zip(starts[:-1], starts[1:], strict=True)] == [
        [groups.names[k]] * answer.count(groups.names[k]) for k in chosen]


def test_images_that_are_alone_have_no_groups() -> None:
    assert items_of(None, 3).groups is None and items_of(None, 3).answer_ids == ["i0", "i1", "i2"]
    alone = items_of(["x", "y", "z"], 3)
    assert alone.groups is None and alone.answer_ids == ["x", "y", "z"]
    assert items_of(["x", "y", "x"], 3).answer_ids == ["x", "y"]
    assert items_of([], 0).answer_ids == []


def test_the_prior_of_an_answer_that_is_lost_stays_what_it_is() -> None:
    """Not a mean of three equal numbers, which may be another number."""
    prior = np.full((3, 1), 0.1, dtype=np.float32)
    groups = answer_groups(["x"] * 3)
    assert groups is not None and groups.mean(prior, np.ones(3, dtype=bool))[0, 0] == np.float32(0.1)


def test_answers_need_a_name_for_each_image() -> None:
    with pytest.raises(DataError, match="2 names of answers for 3 images; each image needs one"):
        items_of(["x", "y"], 3)


def test_what_is_taken_keeps_its_answers() -> None:
    items = items_of(["x", "y", "x"], 3)
    labelled = Labelled(Path("t.csv"), items, np.array([0, 1, 0]), ["a", "b"], {"label": ["a", "b", "a"]})
    assert labelled.take(["i2", "i1"], Path("folds.csv")).items.answer == ["x", "y"]


def test_boxes_keep_the_answers_and_have_no_mean() -> None:
    rows = Rows({"box": np.zeros((2, 4)), "score": np.ones(2)}, np.array([0, 1, 2]))
    assert boxes_of(items_of(["x", "y"], 2), rows, 5).answer_ids == ["x", "y"]
    with pytest.raises(DataError, match="answer 'x' is of several images, and boxes of several images have no mean"):
        boxes_of(items_of(["x", "x"], 2), rows, 5)
