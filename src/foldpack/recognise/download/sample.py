"""The sample submission of a download: which table it is, which column names the items, and which are to be filled."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foldpack.recognise.download.cells import are_numbers
from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.listing import Listing, still_packed
from foldpack.recognise.findings import Findings, RecognitionError

SAMPLE_NAMES = [re.compile(text, re.IGNORECASE) for text in
                (r".*sample.*sub.*\.csv", r"sample.*\.csv", r".*submission.*\.csv")]
ID_NAME = re.compile(r"(.*[_ ])?(id|ids|image|images|file|filename|img|name|uid)(_?(id|name|code))?|.*id|id.*",
                     re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """What is asked for. cells: of the columns to be filled, as the sample has them."""

    file: str
    id: str
    ids: list[str]
    cells: dict[str, list[str]]

    @property
    def columns(self) -> list[str]:
        """The columns to be filled."""
        return list(self.cells)


def find_sample(listing: Listing, heads: list[Head], findings: Findings) -> tuple[Sample, Head]:
    """By its name, then by its shape. Raises RecognitionError where there is none."""
    tables = [head for head in heads if head.file.lower().endswith(".csv")]
    for pattern in SAMPLE_NAMES:
        named = [head for head in tables if pattern.fullmatch(head.file.rpartition("/")[2]) and len(head.columns) > 1]
        if named:
            break
    else:
        bare = next((path for path in listing.tables if any(pattern.fullmatch(path.rpartition("/")[2])
                                                            for pattern in SAMPLE_NAMES)), None)
        if bare is not None:
            raise RecognitionError(f"{listing.root / bare}: the sample submission has no rows, or no header; needed: a "
                                   "row for each test item. Where only the kernel sees them, keep the header and write "
                                   "a row for each test image of the download, with any answer")
        got = ", ".join(listing.tables[:6]) or "no table"
        raise RecognitionError(f"{listing.root}: there is no sample submission, got: {got}; needed: a CSV such as "
                               f"sample_submission.csv, whose rows say what is asked for{still_packed(listing)}")
    named.sort(key=lambda head: (head.file.count("/"), len(head.file)))
    head = named[0]
    if len(named) > 1:
        options = [(each, each.file) for each in named]
        head = findings.settle("answer", "which file is the sample submission?", options, "several are called so")
    sample = read_sample(head)
    rows = f"{len(sample.ids)}{'' if head.whole else '+'} rows"
    findings.recognise("answer", f"the sample submission is {head.file}",
                       f"{rows}, ids in '{sample.id}', to be filled: {shown(sample.columns)}")
    return sample, head


def read_sample(head: Head) -> Sample:
    """The id is the first column that is named like one, else the first with a name; what has no name is left out."""
    names = [name for name in head.columns if name.strip()]
    first = names[0]
    likely = [name for name in names if ID_NAME.fullmatch(name) and len(set(head.columns[name])) > head.rows / 50]
    key = likely[0] if likely and len(set(head.columns[first])) <= 2 and are_numbers(head.columns[first]) else first
    return Sample(head.file, key, head.columns[key], {name: head.columns[name] for name in names if name != key})


def shown(names: list[str], most: int = 4) -> str:
    """Names for a sentence; of many the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
