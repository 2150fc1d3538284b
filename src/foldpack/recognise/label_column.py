"""Which columns of the training table say the label: by the sample's columns, by names, and by what cells hold."""

from __future__ import annotations

import re

from foldpack.recognise.doubts import require_unknown
from foldpack.recognise.download.cells import DATE, are_numbers, are_run_lengths, filled
from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.sample import Sample
from foldpack.recognise.findings import STOP, Findings, RecognitionError

NAMES = ("label", "labels", "target", "class", "category", "category_id", "class_id", "species", "breed", "diagnosis",
         "y", "id")
NO_LABELS = ("offset", "picture", "row")  # columns that a source makes
LIKE_A_LABEL = re.compile(r"label|target|class|categor|species|breed|diagnos|grade|score|rle|mask|encod|pixel|is_|has_",
                          re.IGNORECASE)


def find_label_column(
    train: Head, used: set[str], test_columns: set[str], sample: Sample, findings: Findings
) -> str:
    """The one column that is to be predicted. used: columns that say which image it is. Raises RecognitionError."""
    given = [name for name in train.columns if name not in used and name.strip() and name not in NO_LABELS
             and filled(train.columns[name])]
    if not given:
        raise RecognitionError(f"{train.file}: there is no column beside {', '.join(sorted(used))}; needed: one with "
                               "labels")
    asked = sample.columns[0]
    if asked in given:
        findings.recognise("labels", f"column '{asked}'", "the sample submission asks for a column of that name")
        return asked
    if not any(LIKE_A_LABEL.search(name) for name in given):  # tables of test items may have an empty column of labels
        require_unknown(train.file, given, test_columns, sample)
    scored = sorted(given, key=lambda name: -score(name, train.columns[name], test_columns, sample))
    best = scored[0]
    points = [score(name, train.columns[name], test_columns, sample) for name in scored[:2]]
    if len(scored) == 1:
        findings.recognise("labels", f"column '{best}'", "there is no other column")
    elif points[0] >= points[1] + 2:
        findings.guess("labels", f"column '{best}'", f"it fits the sample's column '{asked}' best, of "
                       f"{', '.join(scored[:4])}")
    else:
        options = [*((name, f"column '{name}'") for name in scored[:4]), ("", STOP)]
        best = findings.settle("labels", f"which column says what '{asked}' is?", options, "several columns may be it")
    if not best:
        raise RecognitionError(f"{train.file}: none of {', '.join(scored[:4])} says what '{asked}' is, as you said; "
                               "take the file from the download again, or write competition.yml by hand")
    return best


def score(name: str, cells: list[str], test_columns: set[str], sample: Sample) -> int:
    """How much speaks for a column: it is not known of test items, is called so, has what the sample answers."""
    asked = sample.columns[0]
    given, known = sample.cells[asked], set(cells)
    points = 2 * (bool(test_columns) and name not in test_columns)
    points += 3 * (name.lower() == asked.lower()) + (asked.lower() in name.lower())
    points += 2 * (name.lower() in NAMES) + bool(LIKE_A_LABEL.search(name))
    points += 2 * (bool(filled(given)) and all(word in known for word in filled(given)[:50]))
    points += 2 * (len(sample.columns) > 1 and known <= set(sample.columns))
    points += 4 * (are_run_lengths(cells) and (are_run_lengths(given) or set(given) <= {"", "1 1"}))
    points -= 4 * all(DATE.fullmatch(cell) for cell in filled(cells)[:50])
    points -= 3 * (len(known) <= 1) + 3 * (len(known) == len(cells) and not are_numbers(cells) and len(cells) > 20)
    return points
