"""CSVs as a table of text: everything stays as it was written, and what cannot be read is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import write_files

from foldpack.competitions.sources.csv_table import read_csv_table
from foldpack.errors import DataError


def test_cells_are_text_as_it_was_written(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": '\ufeffid,x\r\n"007",1.50\r\nNA,"a, ""b"""\r\n\r\n08,\r\n'})
    table = read_csv_table(tmp_path, "train", "a.csv")
    assert table.columns == {"id": ["007", "NA", "08"], "x": ["1.50", 'a, "b"', ""]}
    assert table.where(2) == f"{tmp_path / 'a.csv'}, line 5"


def test_separator_encoding_short_rows_and_row_numbers(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": ";id;name\n0;x;Grünspecht\n1;y\n".encode("latin-1")})
    table = read_csv_table(tmp_path, "train", "a.csv", ";", "latin-1")
    assert table.columns == {"id": ["x", "y"], "name": ["Grünspecht", ""]}


def test_several_files_one_below_the_other(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": "id,x\na,1\n", "b.csv": "x,id\n2,b\n"})
    table = read_csv_table(tmp_path, "train", ["a.csv", "b.csv"])
    assert table.columns == {"id": ["a", "b"], "x": ["1", "2"]} and table.where(1) == f"{tmp_path / 'b.csv'}, line 2"


@pytest.mark.parametrize(("content", "said"), [
    (b"id,x\na,1,2\n", "cannot read the table (line 2 has 3 values for 2 columns); put quotes around"),
    (b'id,x\n"a,1\n', "cannot read the table (unexpected end of data); is this the competition's folder?"),
    (b"", "cannot read the table (it has no columns); is this the competition's folder?"),
    (b"id,id\n1,2\n", "column 'id' stands there twice; rename one of them"),
    (b"id,x\n\xe9,1\n", "byte 5 is no utf-8 (invalid continuation byte); set encoding to that of the file, such as"),
])
def test_what_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    write_files(tmp_path, {"a.csv": content})
    with pytest.raises(DataError) as caught:
        read_csv_table(tmp_path, "train", "a.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}: {said}") and "\n" not in str(caught.value)


def test_other_columns_a_missing_file_and_a_strange_encoding(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": "id,x\na,1\n", "b.csv": "id,y\nb,1\n"})
    with pytest.raises(DataError, match=r"b.csv: columns id, y; needed: those of .*a.csv, id, x"):
        read_csv_table(tmp_path, "train", ["a.csv", "b.csv"])
    with pytest.raises(DataError, match=r"c.csv: cannot read the table \(No such file or directory\); is this the "
                                        r"competition's folder\? There is: a.csv, b.csv$"):
        read_csv_table(tmp_path, "train", "c.csv")
    with pytest.raises(DataError, match="a.csv: encoding 'utf-9' is unknown; write one that Python knows"):
        read_csv_table(tmp_path, "train", "a.csv", encoding="utf-9")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": "image_id,label\na,1\n", "b.csv": "id;label\na;1\n"})
    with pytest.raises(DataError, match="a.csv: column 'imageid' is missing: did you mean 'image_id'. Allowed: imag"):
        read_csv_table(tmp_path, "train", "a.csv").column("imageid")
    with pytest.raises(DataError, match="b.csv: column 'id' is missing, and the whole header 'id;label' is one column; "
                                        "set separator to ';'"):
        read_csv_table(tmp_path, "train", "b.csv").column("id")
