"""The sources of items, by the kind that `competition.yml` names."""

from __future__ import annotations

from collections.abc import Callable

from foldpack.competitions.sources.csv_table import read_csv_table
from foldpack.competitions.sources.files_table import read_files_table
from foldpack.competitions.sources.text_table import TextTable

SOURCES: dict[str, Callable[..., TextTable]] = {
    "csv": read_csv_table,
    "files": read_files_table,
}
