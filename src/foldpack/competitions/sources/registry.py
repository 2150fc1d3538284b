"""The sources of items, by the kind that `competition.yml` names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from foldpack.errors import DataError

# kind -> module beside this one, and the function in it: only what is used is imported, since one needs a package more.
SOURCES = {
    "bson": ("bson_table", "read_bson_table"),
    "coco": ("coco_table", "read_coco_table"),
    "csv": ("csv_table", "read_csv_table"),
    "files": ("files_table", "read_files_table"),
    "records": ("records_table", "read_records_table"),
}


def find_source(kind: str) -> Callable[..., Any]:
    """The function that reads a source: (root, split, **settings) -> TextTable. Raises DataError where a package is
    missing that it needs."""
    module, name = SOURCES[kind]
    try:
        return vars(import_module(f"foldpack.competitions.sources.{module}"))[name]
    except ModuleNotFoundError as failure:
        raise DataError(f"a source of kind '{kind}' needs the package '{failure.name}'; install foldpack with "
                        f"`pip install 'foldpack[{kind}]'`") from None
