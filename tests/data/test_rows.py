"""Rows and items: whatever is cut, saved and opened joins to the same, and every image keeps its place."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldpack.data.items import Items, boxes_of, whole_images
from foldpack.data.rows import Rows, open_rows, save_rows
from foldpack.errors import DataError


@st.composite
def made_rows(draw: st.DrawFn) -> Rows:
    """Rows of every form: one or many entries a row, runs within an entry, lost rows."""
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 9))
    per_row = dice.integers(0, 4, count) if draw(st.booleans()) else None
    entries = count if per_row is None else int(per_row.sum())
    columns = {"probs": dice.random((entries, 3), dtype=np.float32), "label": dice.integers(0, 9, entries)}
    within = {}
    if draw(st.booleans()):
        parts = dice.integers(0, 3, entries)
        within["runs"] = np.concatenate([[0], np.cumsum(parts)]).astype(np.int64)
        columns["runs"] = dice.integers(0, 2**32, int(parts.sum()), dtype=np.uint32)
    starts = None if per_row is None else np.concatenate([[0], np.cumsum(per_row)]).astype(np.int64)
    lost = dice.random(count) < 0.3 if draw(st.booleans()) else None
    return Rows(columns, starts, within, lost)


def parts_of(rows: Rows) -> dict[str, np.ndarray]:
    """All arrays of some rows by name."""
    parts = {**rows.columns, **{f"within {name}": places for name, places in rows.within.items()}}
    return parts | {name: part for name, part in (("starts", rows.starts), ("lost", rows.lost)) if part is not None}


def require_same(got: Rows, wanted: Rows) -> None:
    """Every array is there, of the same type and values."""
    assert len(got) == len(wanted) and got.entries == wanted.entries
    found, expected = parts_of(got), parts_of(wanted)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


@given(rows=made_rows(), cuts=st.lists(st.integers(0, 9), max_size=5), ending=st.sampled_from(["", ".npz"]))
def test_parts_of_any_cut_saved_and_opened_join_to_the_same(rows: Rows, cuts: list[int], ending: str) -> None:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (first, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            save_rows(folder / f"part{number}{ending}", rows.take(slice(first, end)))
        opened = [open_rows(folder / f"part{number}{ending}") for number in range(len(edges) - 1)]
        assert [len(part) for part in opened] == np.diff(edges).tolist()
        require_same(Rows.joined(opened), rows)
        save_rows(folder / f"whole{ending}", rows)
        require_same(open_rows(folder / f"whole{ending}"), rows)
        assert len(list(folder.iterdir())) == len(edges)  # nothing half is left


def test_columns_of_a_folder_stay_on_the_disk_and_a_new_one_takes_its_place(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows", Rows({"probs": np.ones((4, 2), dtype=np.float32)}, lost=np.zeros(4, dtype=bool)))
    assert isinstance(open_rows(tmp_path / "rows").columns["probs"], np.memmap)
    save_rows(tmp_path / "rows", Rows({"value": np.zeros((3, 1))}))
    again = open_rows(tmp_path / "rows")
    assert list(again.columns) == ["value"] and again.lost is None and len(again) == 3


def test_nothing_pickled_and_nothing_cut_is_opened(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz", Rows({"probs": np.ones((4, 2), dtype=np.float32)}))
    content = (tmp_path / "rows.npz").read_bytes()
    for cut in range(0, len(content), 7):
        (tmp_path / "rows.npz").write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"rows\.npz: cannot read the rows"):
            open_rows(tmp_path / "rows.npz")
    (tmp_path / "rows").mkdir()
    np.save(tmp_path / "rows" / "column.a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="rows: cannot read the rows"):
        open_rows(tmp_path / "rows")


@pytest.mark.parametrize(("parts", "message"), [
    ({"columns": {"a": np.zeros(3), "b": np.zeros(2)}}, r"columns of \[3, 2\] entries, 3 in the rows"),
    ({"columns": {"a": np.zeros(3)}, "starts": np.array([0, 1, 4])}, r"columns of \[3\] entries, 4 in the rows"),
    ({"columns": {"a": np.zeros(3)}, "lost": np.zeros(2, dtype=bool)}, "2 marks of lost rows for 3 rows"),
    ({"columns": {"a": np.zeros(5)}, "within": {"a": np.array([0, 4])}}, "5 parts of 'a' for 4 in its entries"),
])
def test_parts_that_do_not_fit_are_refused(parts: dict, message: str) -> None:
    with pytest.raises(DataError, match=f"rows that do not fit together: {message}"):
        Rows(**parts)


def test_rows_of_other_columns_do_not_join() -> None:
    with pytest.raises(DataError, match=r"rows of columns \['b'\] cannot follow those of \['a'\]"):
        Rows.joined([Rows({"a": np.zeros(1)}), Rows({"b": np.zeros(1)})])


def test_an_id_that_is_asked_for_twice_keeps_both_places() -> None:
    items = whole_images(["x", "y", "x"], [Path("x.png"), Path("y.png"), Path("x.png")])
    assert len(items) == 3 and items.image.tolist() == [0, 1, 2] and items.starts.tolist() == [0, 1, 2, 3]
    starts = np.array([0, 1, 1, 3])
    boxes = boxes_of(items, Rows({"box": np.zeros((3, 4)), "score": np.ones(3)}, starts), 9)
    assert boxes.ids == items.ids and boxes.image.tolist() == [0, 2, 2]


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(1, 4), st.integers(0, 2**32))
def test_the_best_boxes_of_each_page_and_empty_pages_keep_their_place(counts: list[int], most: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    scores = dice.integers(0, 3, starts[-1]).astype(np.float32)  # many are equal
    box = dice.random((starts[-1], 4), dtype=np.float32)
    lost = dice.random(len(counts)) < 0.2
    pages = whole_images([f"p{k}" for k in range(len(counts))], [Path(f"{k}.png") for k in range(len(counts))])
    found = Rows({"box": box, "score": scores, "label": np.arange(starts[-1])}, starts, lost=lost)
    items = boxes_of(pages, found, most)
    assert items.ids == pages.ids and len(items.starts) == len(counts) + 1
    for page in range(len(counts)):
        rows = range(starts[page], 0 if lost[page] else starts[page + 1])
        best = sorted(sorted(rows, key=lambda row: (-scores[row], row))[:most])
        inside = slice(items.starts[page], items.starts[page + 1])
        assert items.known["label"][inside].tolist() == best
        assert items.box is not None and np.array_equal(items.box[inside], box[best])
        assert (items.image[inside] == page).all()


def test_items_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="items that are not sorted by image"):
        Items(["a", "b"], [Path("a"), Path("b")], np.array([1, 0], dtype=np.int32))
    with pytest.raises(DataError, match="3 entries of 'score' for 2 items"):
        Items(["a"], [Path("a")], np.array([0, 0], dtype=np.int32), np.zeros((2, 4)), {"score": np.zeros(3)})
    with pytest.raises(DataError, match="1 rows of boxes for 2 images"):
        boxes_of(whole_images(["a", "b"], [Path("a"), Path("b")]), Rows({"box": np.zeros((1, 4))}, np.array([0, 1])), 1)
