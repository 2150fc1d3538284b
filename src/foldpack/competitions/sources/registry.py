"""The sources of items, by the kind that `competition.yml` names."""

from __future__ import annotations

from collections.abc import Callable

from foldpack.competitions.sources.bson_table import read_bson_table
from foldpack.competitions.sources.coco_table import read_coco_table
from foldpack.competitions.sources.csv_table import read_csv_table, read_sample_table
from foldpack.competitions.sources.files_table import read_files_table
from foldpack.competitions.sources.records_table import read_records_table
from foldpack.competitions.sources.text_table import TextTable

# (root, split, **settings) -> the table. The settings are the fields of the classes of `settings.item_sources`.
SOURCES: dict[str, Callable[..., TextTable]] = {
    "bson": read_bson_table,
    "coco": read_coco_table,
    "csv": read_csv_table,
    "files": read_files_table,
    "records": read_records_table,
    "sample": read_sample_table,
}
