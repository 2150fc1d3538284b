"""The standard library's reading and writing of a submission, against what pandas makes of the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from foldpack.competitions.answer_table import AnswerTable, read_answer_table, read_columns, read_sample, write_answers
from foldpack.errors import DataError

CELLS = st.text(st.sampled_from('ab1é\u2028 ,"\n\r\t;#\x00'), max_size=6)
PLAIN = st.text(st.sampled_from("ab1é\u2028 ;#.-"), max_size=6)
NAMES = st.lists(st.sampled_from(["Usage", "note", "x y", "é", 'q"uote', "com,ma", " space"]), unique=True, max_size=3)


def pandas_table(data: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, index_col=False)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@st.composite
def samples(draw: st.DrawFn) -> bytes:
    """A sample submission with odd columns, cells, quotes, line ends, blank lines and short rows, as it may be."""
    columns = draw(st.permutations(["id", "label", *draw(NAMES)]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [",".join(quoted(name) if draw(st.booleans()) or set(name) & set(',"') else name for name in columns)]
    for _ in range(draw(st.integers(0, 6))):
        cells = [quoted(draw(CELLS)) if draw(st.booleans()) else draw(PLAIN) for _ in columns]
        if draw(st.integers(0, 5)) == 0:
            cells = cells[: draw(st.integers(1, len(cells)))]
        if end != "\r":  # where pandas loses the comma after a blank line
            lines += [draw(st.sampled_from(["", "  ", "\t"]))] * draw(st.integers(0, 1))
        lines.append(",".join(cells) if len(cells) > 1 else quoted("x" + draw(CELLS)))
    text = end.join(lines) + (end if draw(st.booleans()) else "")
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode("utf-8")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b'id,label\r\n"a,1","x ""y"""\r\nb c,\r\n', ["1", '"2"'])
@example(b"\xef\xbb\xbflabel,id\n\n0,NA\n \n,nan\n0,NA\n", ["7", "8", "9"])
@given(samples(), st.lists(CELLS, min_size=6, max_size=6))
def test_it_reads_and_writes_what_pandas_does_to_the_byte(tmp_path: Path, data: bytes, answers: list[str]) -> None:
    path, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    path.write_bytes(data)
    peer, table = pandas_table(data), read_answer_table(path, "id", ["label"])
    assert table.columns == list(peer.columns) == read_columns(path)
    assert table.rows == peer.to_numpy().tolist() and table.ids == peer["id"].tolist()
    answers = answers[: len(peer)]
    write_answers(out, table.filled({"label": answers}))
    assert out.read_bytes() == peer.assign(label=answers).to_csv(index=False, lineterminator="\n").encode("utf-8")


def test_an_id_that_is_asked_for_twice_is_answered_twice_and_other_columns_stay(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("Usage,label,id\nPublic,0,x\n,0,y\nPrivate,0,x\n")
    table = read_answer_table(tmp_path / "s.csv", "id", ["label"])
    assert table.ids == ["x", "y", "x"]
    assert table.filled({"label": ["1", "2", "3"]}).text() == "Usage,label,id\nPublic,1,x\n,2,y\nPrivate,3,x\n"
    assert table.asks_the_same(table)
    (tmp_path / "t.csv").write_text("Usage,label,id\n,7,x\n,7,y\n,7,x\n")
    assert table.asks_the_same(read_answer_table(tmp_path / "t.csv", "id", ["label"]))
    (tmp_path / "t.csv").write_text("label,id\n7,x\n7,y\n7,x\n")
    assert not table.asks_the_same(read_answer_table(tmp_path / "t.csv", "id", ["label"]))


def test_several_columns_are_answered_and_a_column_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("b,id,a,more\n0,x,0,m\n0,y,0,n\n")
    table = read_answer_table(tmp_path / "s.csv", "id", ["a", "b"])
    assert table.cells() == {"a": ["0", "0"], "b": ["0", "0"]}
    assert table.filled({"a": ["1", "2"], "b": ["3", "4"]}).text() == "b,id,a,more\n3,x,1,m\n4,y,2,n\n"
    with pytest.raises(ValueError, match=r"\[2, 1\] answers for 2 rows"):
        table.filled({"a": ["1", "2"], "b": ["3"]})
    assert read_answer_table(tmp_path / "s.csv", "id", []).text() == (tmp_path / "s.csv").read_text()


def test_columns_without_a_name_and_doubled_ones_keep_their_names(tmp_path: Path) -> None:
    """pandas would hand in `Unnamed: 0` and `more.1`."""
    (tmp_path / "s.csv").write_text(",id,label,more,more\n0,x,1,a,b\n")
    table = read_answer_table(tmp_path / "s.csv", "id", ["label"])
    assert table.filled({"label": ["5"]}).text() == ",id,label,more,more\n0,x,5,a,b\n"
    assert table.named().filled({"label": ["5"]}).text() == "id,label,more,more\nx,5,a,b\n"


def test_each_row_gets_the_cells_of_its_item() -> None:
    table = AnswerTable(["id", "label"], [["x", ""], ["y", ""], ["x", ""]], 0, {})
    assert table.answered(["y", "z", "x", "y"], {"label": ["1", "2", "3", "4"]}).cells() == {"label": ["3", "1", "3"]}
    assert table.cells() == {} and table.column("label") == ["", "", ""]  # it is as it was
    with pytest.raises(DataError, match="id 'y' of the sample submission is none of the 1 items that were predicted"):
        table.answered(["x"], {"label": ["1"]})
    with pytest.raises(DataError, match="the sample submission has no column 'kind', got: id, label"):
        table.filled({"kind": ["1", "2", "3"]})


def test_a_cell_of_any_length(tmp_path: Path) -> None:
    long = "1 " * 200_000
    (tmp_path / "s.csv").write_text(f"id,label\nx,{long}\n")
    assert read_answer_table(tmp_path / "s.csv", "id", ["label"]).rows == [["x", long]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,label\na,0\nb,0,0\n", r"s.csv: cannot read the table \(line 3 has 3 values for 2 columns\); put quotes"),
        (b"id,label\n\xff,0\n", r"s.csv: cannot read the table \(.*\); needed: a CSV in UTF-8"),
        ("id,label\n".encode("utf-16"), r"s.csv: cannot read the table \(it is UTF-16: save it as UTF-8\); needed"),
        (b"PK\x03\x04\xff\xfe", r"s.csv: cannot read the table \(it is a ZIP archive: unpack it\); needed: a CSV"),
        (b"\x89PNG\r\n", r"s.csv: cannot read the table \(it is a PNG image\); needed: a CSV"),
        (b"id;label\na;0\n", "column 'id' is missing, got: id;label; needed: id, label; its columns are parted by ';': "
                             "write commas"),
        (b"ID ,label\n", "column 'id' is missing, got: ID , label; needed: id, label; 'ID ' differs from it in"),
        (b"id,target\n", "s.csv: column 'label' is missing, got: id, target; needed: id, label"),
        (b"", "s.csv: the file is empty; needed: a first row with the columns id, label, and a row for each it"),
    ],
)
def test_what_is_no_sample_submission_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "s.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_answer_table(tmp_path / "s.csv", "id", ["label"])


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-8"), ("|", "utf-8-sig"),
                                                     (",", "utf-16"), (";", "utf-16")])
def test_a_sample_is_read_whatever_separator_it_has_and_a_submission_has_commas(tmp_path: Path, separator: str,
                                                                                encoding: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(f"id{separator}label\n\"a, x\"{separator}\u00e9 2\n", encoding=encoding)
    table = read_sample(path, "id", ["label"])
    assert table.columns == ["id", "label"] and table.rows == [["a, x", "\u00e9 2"]]
    write_answers(path, table)
    assert path.read_text(encoding="utf-8") == 'id,label\n"a, x",\u00e9 2\n'


def test_a_missing_table(tmp_path: Path) -> None:
    assert read_columns(tmp_path / "s.csv") == []
    with pytest.raises(DataError, match="s.csv: cannot read the table"):
        read_answer_table(tmp_path / "s.csv", "id", ["label"])
