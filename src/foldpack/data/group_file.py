"""Groups of items, which no fold may split: the reader and writer of `id,group`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from foldpack.errors import DataError
from foldpack.files import write_atomic

# What stands in a cell where there is no group; pandas, R and spreadsheets write these.
NO_GROUP = frozenset(("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NaT", "None", "NULL", "null", "n/a"))
OWN_GROUP = "own:"  # before the id of an item whose cell is empty


def write_group_file(path: Path, ids: list[str], groups: list[str]) -> None:
    """Write `id,group`, one row an item, in one step."""
    table = pd.DataFrame({"id": ids, "group": groups})
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def read_group_file(path: Path, ids: list[str]) -> list[str]:
    """The group of every id, in the order of `ids`; an empty cell, or NA and the like, is the item's own.

    Rows of other ids are left out.
    Raises DataError for a file without the columns `id` and `group`, a repeated id, or an id that has no row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as failure:
        raise DataError(f"{path}: cannot read the groups ({failure}); make them with `foldpack groups`") from None
    if missing := [name for name in ("id", "group") if name not in table.columns]:
        raise DataError(f"{path}: column '{missing[0]}' is missing, got: {', '.join(table.columns)}; needed: id, group")
    if repeated := table["id"][table["id"].duplicated()].tolist():
        raise DataError(f"{path}: id '{repeated[0]}' stands there more than once; every item has one group")
    known = dict(zip(table["id"], table["group"].str.strip(), strict=True))
    if lost := [item for item in ids if item not in known]:
        raise DataError(f"{path}: id '{lost[0]}' has no row ({len(lost)} of {len(ids)} ids have none); give each one, "
                        "with an empty group where it stands alone")
    return [f"{OWN_GROUP}{item}" if known[item] in NO_GROUP else known[item] for item in ids]
