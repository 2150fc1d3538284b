"""Templates, patterns and choices over a table of text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldpack.competitions.sources.text_table import TextTable
from foldpack.errors import DataError


def table_of(**columns: list[str]) -> TextTable:
    count = len(next(iter(columns.values())))
    return TextTable(columns, [Path("t.csv")], np.stack([np.zeros(count), np.arange(2, count + 2)], 1).astype(np.int32))


def test_a_template_over_columns() -> None:
    table = table_of(id=["a", "b"], kind=["x y", ""])
    assert table.rendered("{split}/{kind}/{id}.png", "test", "image") == ["test/x y/a.png", "test//b.png"]
    with pytest.raises(DataError, match="t.csv: image '{ids}.png': column 'ids' is missing: did you mean 'id'."):
        table.rendered("{ids}.png", "test", "image")


def test_a_cell_is_taken_apart(tmp_path: Path) -> None:
    table = table_of(id=["case2_day20_slice_0001", "", "case3_day1_slice_0002"])
    found = table.parsed({"id": "{case}_day{day}_slice_{n}"}, "train")
    assert found.columns["case"] == ["case2", "", "case3"] and found.columns["day"] == ["20", "", "1"]
    assert found.columns["n"] == ["0001", "", "0002"]


def test_the_first_pattern_that_fits_counts() -> None:
    table = table_of(id=["100241706_00000_1", "umgy001-058"])
    assert table.parsed({"id": ["{book}_*_*", "{book}-*"]}, "train").columns["book"] == ["100241706", "umgy001"]


def test_a_part_that_stands_there_again_is_the_same() -> None:
    table = table_of(path=["train/c1/c1_d2/x.png"])
    assert table.parsed({"path": "{split}/{case}/{case}_{day}/*.png"}, "train").columns["day"] == ["d2"]
    with pytest.raises(DataError, match=r"t.csv, line 2: path 'train/c1/c1_d2/x.png' does not fit the pattern "
                                        r"'{split}/{case}/{case}_{day}/\*.png'; change it in parse, or give several"):
        table.parsed({"path": "{split}/{case}/{case}_{day}/*.png"}, "test")


def test_a_part_must_be_new() -> None:
    with pytest.raises(DataError, match="t.csv: parse.id: there is a column 'kind' already; call the part otherwise"):
        table_of(id=["a_b"], kind=["x"]).parsed({"id": "{kind}_{n}"}, "train")


def test_rows_are_chosen_by_their_cells() -> None:
    table = table_of(id=["a", "b", "c"], kind=["x", "y", "z"])
    assert table.chosen({"kind": ["x", "z"]}).columns["id"] == ["a", "c"]
    assert table.chosen({"kind": "y"}).where(0) == "t.csv, line 3"
    with pytest.raises(DataError, match="t.csv: where: no row has 'w' in column 'kind', which has 'x', for example"):
        table.chosen({"kind": "w"})
    with pytest.raises(DataError, match="column 'kinds' is missing: did you mean 'kind'"):
        table.chosen({"kinds": "w"})
