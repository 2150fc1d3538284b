"""One member's predictions: one file, or one file a fold. Rows go by id, and by position only where there are none."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.errors import DataError
from foldpack.files import sha256_file
from foldpack.search.files.class_columns import Predictions, predictions_of
from foldpack.search.files.columns import IdColumn, id_columns, is_number, pick_ids, require_known_order, row_order
from foldpack.search.files.tables import RawTable, read_raw, split_array_name

# A number in a file's name, and the word before it: the fold of "fold3", "f3", "kfold_3", "cv3"; perhaps of "oof_3".
NUMBER = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]*[-_ .]?)(\d{1,2})(?![A-Za-z0-9])")
FOLD_WORDS = ("fold", "f", "kfold", "cv", "k", "split", "part")
OTHER_WORDS = tuple("seed s run r rep repeat v ver version exp experiment epoch ep e model m net n ckpt checkpoint "
                    "snap bag tta try trial b stage level l".split())


def digest_of(files: tuple[Path, ...]) -> str:
    """SHA-256 of the file, or of the digests of all its folds' files in order."""
    digests = [sha256_file(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def fold_siblings(path: Path) -> list[tuple[int, Path]]:
    """(fold, file) of all files beside this one whose names differ only in the fold's number; empty without one.

    "a.f0.npy" finds "a.f1.npy"; of several numbers in a name the last that has siblings counts. The number after a
    word like seed, run or v is no fold.
    """
    for found in reversed(list(NUMBER.finditer(path.name))):
        if not _perhaps_a_fold(found):
            continue
        head, tail = path.name[: found.start(2)], path.name[found.end(2) :]
        pattern = re.compile(re.escape(head) + r"(\d{1,2})" + re.escape(tail))
        beside = [(match, other) for other in path.parent.iterdir() if (match := pattern.fullmatch(other.name))]
        if len(beside) > 1:
            return sorted((int(match[1]), other) for match, other in beside)
    return []


def _word_before(found: re.Match[str]) -> str:
    return found[1].strip("-_ .").lower()


def _perhaps_a_fold(found: re.Match[str]) -> bool:
    """Whether a number follows a word for fold, or a separator after any word but seed, run and the like."""
    word, attached = _word_before(found), found[1][-1:].isalpha()
    return word in FOLD_WORDS or (not attached and word not in OTHER_WORDS)


def _called_fold(path: Path) -> bool:
    return any(_word_before(found) in FOLD_WORDS for found in NUMBER.finditer(path.name))


def whole_member(
    raw: RawTable, folds: np.ndarray | None, rows: int, wanted: list[str] | None
) -> tuple[RawTable, list[str]]:
    """One member's file with all rows, its folds' files put together by their ids, or as `folds` says; and notes.

    folds: (rows,) int, needed for a member in several files without ids; rows: how many the labels have; wanted: their
    ids. Raises DataError.
    """
    path = raw.path
    file, array = split_array_name(path)
    if raw.rows == rows:
        whole = f"{path}: called one fold, but it has all {rows} rows: taken as it is"
        return raw, [whole] if _called_fold(file) and len(fold_siblings(file)) > 1 else []
    siblings = fold_siblings(file)
    if not siblings or (not _called_fold(file) and raw.rows > rows):
        ids = pick_ids(id_columns(raw), wanted)
        if ids is not None and wanted is not None:
            row_order(ids.values, wanted, path, "the labels")  # says which are missing
        raise DataError(f"{path}: {raw.rows} rows, the labels have {rows}; and no files of other folds lie beside it")
    parts = {fold: read_raw(other if array is None else Path(f"{other}:{array}")) for fold, other in siblings}
    by_ids = _joined_by_ids(path, parts, wanted)
    if by_ids is not None:
        return by_ids, [_joined_note(path, parts, "by id")]
    if folds is None:
        raise DataError(f"{path}: {raw.rows} of {rows} rows, one of {len(siblings)} folds; say with --folds which row "
                        "belongs to which fold")
    return _joined_by_folds(path, parts, folds), [_joined_note(path, parts, "as --folds says")]


def _joined_note(path: Path, parts: dict[int, RawTable], how: str) -> str:
    return f"{path}: joined {how} with the files of folds {', '.join(str(fold) for fold in parts)}"


def _joined_by_ids(path: Path, parts: dict[int, RawTable], wanted: list[str] | None) -> RawTable | None:
    """All folds' rows under each other, if the labels and they have ids; else None."""
    tables = list(parts.values())
    if wanted is None or any(part.frame is None for part in tables):
        return None
    known = set(wanted)
    picked = [next((one for one in id_columns(part) if known.issuperset(one.values)), None) for part in tables]
    if any(one is None for one in picked) or len({one.name for one in picked if one is not None}) != 1:
        return None
    return _stacked(path, tables)


def _joined_by_folds(path: Path, parts: dict[int, RawTable], folds: np.ndarray) -> RawTable:
    """Every fold's rows where `folds` says, in their order. Raises DataError where their number does not add up."""
    needed = np.unique(folds).tolist()
    if missing := sorted(set(needed) - set(parts)):
        raise DataError(f"{path}: no file for fold {missing[0]} beside it; found folds {sorted(parts)}")
    for fold in needed:
        if parts[fold].rows != (count := int((folds == fold).sum())):
            raise DataError(f"{parts[fold].path}: {parts[fold].rows} rows, fold {fold} has {count} rows of shape "
                            f"{_shape(parts[fold])}; are these files really folds?")
    stacked = _stacked(path, [parts[fold] for fold in needed])
    place = np.argsort(np.concatenate([np.flatnonzero(folds == fold) for fold in needed]))
    if stacked.frame is not None:
        return replace(stacked, frame=stacked.frame.iloc[place].reset_index(drop=True))
    assert stacked.array is not None
    return replace(stacked, array=stacked.array[place])


def _shape(part: RawTable) -> tuple[int, ...]:
    return (part.frame if part.array is None else part.array).shape[1:]  # type: ignore[union-attr]


def _stacked(path: Path, parts: list[RawTable]) -> RawTable:
    """The rows of several files under each other; the columns by name. Raises DataError where they differ."""
    first = parts[0]
    files = tuple(file for part in parts for file in part.files)
    for part in parts[1:]:
        if (part.frame is None) != (first.frame is None) or _shape(part) != _shape(first) or (
            part.frame is not None and first.frame is not None and set(part.frame) != set(first.frame)
        ):
            raise DataError(f"{part.path}: other columns than {first.path}; the files of one member must have the same")
    if first.frame is None:
        return RawTable(path, files, array=np.concatenate([part.array for part in parts if part.array is not None]))
    frames = [part.frame[first.frame.columns] for part in parts if part.frame is not None]
    mixed = [name for name in first.frame if len({is_number(frame[name]) for frame in frames}) > 1]
    frames = [frame.astype(dict.fromkeys(mixed, str)) for frame in frames]
    return RawTable(path, files, frame=pd.concat(frames, ignore_index=True), index=first.index)


def in_order(raw: RawTable, wanted: list[str] | None, against: object, name: str | None = None) -> tuple[
    RawTable, IdColumn | None]:
    """A table with its rows in the order of the ids wanted, and its own ids, None where it has none.

    wanted: None leaves the order. against: whose ids they are; name: of their column. Raises DataError where ids
    differ, or where an index says that the order is another one.
    """
    columns = id_columns(raw)
    ids = pick_ids(columns, wanted, name)
    if ids is None or wanted is None:
        require_known_order(columns, raw.path)
        return raw, ids
    order = row_order(ids.values, wanted, raw.path, against)
    assert raw.frame is not None
    return replace(raw, frame=raw.frame.iloc[order].reset_index(drop=True)), replace(ids, values=wanted)


def predictions_in(
    raw: RawTable, own: str | None = None, known: list[str] | None = None, truth: np.ndarray | None = None
) -> tuple[Predictions, list[str]]:
    """The numbers of a file, its columns told apart from ids, folds and labels; and notes. Raises DataError.

    own: the column of its ids; known: the names of the classes; truth: the labels, in the order of the rows.
    """
    if raw.frame is not None:
        return predictions_of(raw.frame, raw.path, id_columns(raw), own, known, truth)
    assert raw.array is not None
    if raw.array.dtype.kind == "U":
        raise DataError(f"{raw.path}: it holds text, like {str(raw.array.flat[0])!r}; predictions are numbers")
    values = raw.array if raw.array.dtype.kind == "f" else raw.array.astype(np.float64)
    return Predictions(values, None), []
