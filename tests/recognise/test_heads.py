"""Tables of a download: long ones are read in parts from all over them, and what is no table is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foldpack.recognise.download import heads
from foldpack.recognise.download.heads import Head, read_heads
from foldpack.recognise.download.listing import list_download


def heads_of(folder: Path) -> dict[str, Head]:
    return {head.file: head for head in read_heads(list_download(folder))}


def test_a_long_table_is_read_in_blocks_from_all_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "ROWS", 40)
    monkeypatch.setattr(heads, "BLOCK", 10)
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(f"{row},{row // 500}\n" for row in range(1000)))
    head = heads_of(tmp_path)["train.csv"]
    rows = [int(cell) for cell in head.columns["id"]]
    assert not head.whole and 40 <= len(rows) <= 80 and set(head.columns["label"]) == {"0", "1"}
    assert rows == [start + step for start in rows[::10] for step in range(10)]


def test_what_is_no_table_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"a": 1}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "bare.csv").write_text("1,1\n2,3\n")
    (tmp_path / "x.png").write_text("")
    (tmp_path / "x-structure.json").write_text('[{"id": 1}]')
    (tmp_path / "kept.csv").write_text("\ufeffid;name\n007;caf\u00e9\n", encoding="utf-8")
    assert list(heads_of(tmp_path)) == ["kept.csv"]
    assert heads_of(tmp_path)["kept.csv"].columns == {"id": ["007"], "name": ["caf\u00e9"]}


def test_records_stand_in_a_list_or_a_line_each(tmp_path: Path) -> None:
    rows = [{"id": "a", "good": True, "size": 1.5, "band": [0.5] * 20, "more": None}, {"id": "b", "more": "x"}]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in ("list.json", "lines.jsonl"):
        head = heads_of(tmp_path)[file]
        assert head.columns == {"id": ["a", "b"], "good": ["true", ""], "size": ["1.5", ""], "more": ["", "x"],
                                "row": ["0", "1"]}
        assert head.arrays == {"band": 20} and head.source.kind == "records"
