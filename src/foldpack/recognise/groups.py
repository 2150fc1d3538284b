"""Which training items must stay in one fold: columns named like a patient or a place, and what ids begin with."""

from __future__ import annotations

import re
from collections import Counter

from foldpack.recognise.findings import Findings

NAMES = ("patient", "subject", "person", "case", "study", "location", "place", "camera", "book", "artist", "individual",
         "animal", "slide", "plot", "sequence|seq_id", "group")
FEWEST = 5  # groups: as many as folds
BEGINNING = re.compile(r"([A-Za-z]*\d*?[A-Za-z0-9]*?)([_-])(\d+.*)")


def find_group(columns: dict[str, list[str]], id_column: str, findings: Findings) -> str | None:
    """The column whose items belong together; None where no column is like that. columns: those of a part of the
    rows, and what ids are taken apart into."""
    for pattern in NAMES:
        for name, cells in columns.items():
            counts = Counter(cells)
            named = name != id_column and re.search(pattern, name, re.IGNORECASE)
            if named and FEWEST <= len(counts) < 0.9 * len(cells):
                findings.guess("train", f"a group is a {name}", f"{len(counts)} of them for {len(cells)} rows, so "
                               "items of one stay in one fold")
                return name
    return None


def beginning_patterns(ids: list[str]) -> list[str] | None:
    """Patterns with `{book}` for what ids begin with, where few beginnings are those of nearly all; else None."""
    matches = [BEGINNING.fullmatch(each) for each in dict.fromkeys(ids)]
    heads = Counter(match[1] for match in matches if match)
    if sum(heads.values()) < 0.95 * len(matches) or not 2 <= len(heads) < len(matches) / 5:
        return None
    joints = dict.fromkeys(match[2] for match in matches if match)
    return [f"{{book}}{joint}*" for joint in sorted(joints, key="_-".index)]
