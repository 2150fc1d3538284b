"""What cells of text look like."""

from __future__ import annotations

import pytest

from foldpack.recognise.download.cells import are_ranked, are_run_lengths, box_order, label_separator, may_be_ranked


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a", "a b", "b c", "c"], (None,)),
        (["0 4 8", "4", "8 0", ""], (None,)),
        (["rust,scab", "scab", "rust"], (",",)),
        (["left|right", "left", "right|up", "up"], ("|",)),
        (["Black-grass", "Common wheat", "Fat Hen", "Sugar beet"], None),
        (["Common Chickweed", "Common wheat", "Maize"], None),
        (["red car", "blue car", "red bike", "blue bike"], None),
        (["a", "b", ""], None),
    ],
)
def test_several_labels_are_told_from_a_label_with_spaces(cells: list[str], separator: tuple | None) -> None:
    assert label_separator(cells) == separator


@pytest.mark.parametrize(
    ("cells", "are"),
    [
        (["1 3 10 2", "", "5 5"], True),
        (["0 3 10 2"], True),
        (["1 1"], False),
        (["1 3 2 2"], False),  # the second begins inside the first
        (["1 3 10"], False),
        (["4 8 12 x"], False),
        (["", ""], False),
        (["5 0 9 1"], False),
    ],
)
def test_run_lengths_are_pairs_in_order(cells: list[str], are: bool) -> None:
    assert are_run_lengths(cells) is are


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["U+3042 1 33 22 30 U+3044 49 65 22 30", ""], ["label", "x", "y", "width", "height"]),
        (["cat 1 2 30 40", "dog 5 5 9 9 cat 0 0 4 4"], ["label", "x_min", "y_min", "x_max", "y_max"]),
        (["opacity 1 10 10 30 40"], ["label", "score", "x_min", "y_min", "x_max", "y_max"]),
        (["3 0.5 10 10 5 4"], ["label", "score", "x", "y", "width", "height"]),
        (["a b c", "d"], None),
        ([""], None),
    ],
)
def test_the_words_of_a_box_are_read_off_its_numbers(cells: list[str], order: list[str] | None) -> None:
    assert box_order(cells) == order


def test_a_ranking_has_as_many_words_in_every_cell() -> None:
    assert are_ranked(["a b", "b a"], ["a", "b", "c"]) and are_ranked(["7 9"], ["1", "2"])
    assert not are_ranked(["a b", "b"], ["a", "b"]) and not are_ranked(["a"], ["a", "b"])
    assert not are_ranked(["Fat Hen"], ["Fat Hen", "Maize"]) and not are_ranked(["x y"], ["a", "b"])


def test_words_that_are_no_labels_may_be_a_ranking_where_each_cell_has_as_many_different_ones() -> None:
    assert may_be_ranked(["x y", "z x"], ["a", "b"])
    assert not may_be_ranked(["x x"], ["a", "b"]) and not may_be_ranked(["x y", "z"], ["a", "b"])
    assert not may_be_ranked(["x"], ["a", "b"]) and not may_be_ranked(["x y"], ["Fat Hen", "Maize"])
    assert not may_be_ranked([""], ["a", "b"])
