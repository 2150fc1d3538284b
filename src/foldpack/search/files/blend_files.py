"""`foldpack blend`: apply a found ensemble to other predictions of its members, such as those of the test set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foldpack.data.runs import write_array
from foldpack.ensemble.answers import decided_rows
from foldpack.ensemble.blend import blend_probs
from foldpack.ensemble.thresholds import with_new_score
from foldpack.errors import DataError
from foldpack.files import write_atomic
from foldpack.search.checks.lint import require_alike
from foldpack.search.decide.new_class import new_column
from foldpack.search.files.blend_spec import KIND_OF, files_of, read_blend
from foldpack.search.files.class_columns import by_name, require_one_order
from foldpack.search.files.class_names import column_order, numbered
from foldpack.search.files.column_names import is_counter_name
from foldpack.search.files.columns import IdColumn, id_columns, pick_own_ids
from foldpack.search.files.inputs import in_order, predictions_in
from foldpack.search.files.member_scores import as_probs, decide_scores, require_finite, require_same_scores
from foldpack.search.files.prediction_csv import answer_frame, number_frame
from foldpack.search.files.tables import RawTable, read_raw, split_array_name
from foldpack.search.level2.files import level2_of_files
from foldpack.settings.file_members import FileMember
from foldpack.settings.stages import RankingDecision, StageSpec

OUTPUTS = (".npy", ".csv")


def blend_files(
    ensemble: Path,
    files: list[Path],
    out: Path,
    decided: Path | None = None,
    tell: Callable[[str], None] = print,
) -> tuple[int, ...]:
    """Apply a found ensemble to other predictions of its members, in the order of the YAML. Returns the shape.

    out: .npy or .csv for the blended probabilities (or values); decided: the same for the labels, classes or grades
    they lead to; tell: gets a line for what was noticed. Raises DataError naming the file.
    """
    for path in (out, decided):
        if path is not None and path.suffix.lower() not in OUTPUTS:
            raise DataError(f"{path}: cannot write {path.suffix or 'a file without an ending'}; give .npy for NumPy or "
                            ".csv for a table with ids and names")
    spec = read_blend(ensemble)
    stage, names = spec.last, list(spec.last.shares)
    if len(files) != len(names):
        raise DataError(f"{len(files)} inputs for the {len(names)} members of {ensemble}, in order: {', '.join(names)}")
    require_order_of_names(files, names, ensemble)
    tables, ids, notes = rows_in_one_order([read_raw(path) for path in files], files_of(stage).id_column)
    members, more = member_probs(stage, tables, ensemble, None if ids is None else ids.name)
    for note in dict.fromkeys(notes + more):
        tell(note)
    blended = blend_members(stage, members)
    decision = stage.decision
    if stage.level2:
        blended = level2_of_files(ensemble, stage, members, blended)
        decision = stage.level2[0].decision or decision
    answer = None if decided is None else decided_rows(decision, blended)
    if decided is not None and answer is None:
        raise DataError(f"{ensemble}: metric {spec.metric.name!r} takes the numbers themselves; there is no threshold "
                        "to decide with, leave --decided out")
    if ids is None and ".csv" in (out.suffix.lower(), decided.suffix.lower() if decided else ""):
        tell("the inputs have no ids: the CSV has none either, its rows stand as in the first input")
    _write(out, blended, stage, ids, decisions=False)
    if decided is not None and answer is not None:
        _write(decided, answer, stage, ids, decisions=True)
    return blended.shape


def blend_members(stage: StageSpec, predictions: list[np.ndarray]) -> np.ndarray:
    """Blend members' probabilities (or values), each (n, C) or (n,), in the order of the YAML -> the same shape.

    With a score of "in no class", one column more: that class with that score.
    """
    none_score = stage.decision.none_score if isinstance(stage.decision, RankingDecision) else None
    if none_score is not None:
        column = new_column(*predictions[0].shape)
        predictions = [np.hstack([probs, column]) for probs in predictions]
    blended = blend_probs(predictions, list(stage.shares.values()), stage.scores, stage.outputs.exclusive)
    return blended if none_score is None else with_new_score(blended, none_score)


def _write(path: Path, values: np.ndarray, stage: StageSpec, ids: IdColumn | None, decisions: bool) -> None:
    if path.suffix.lower() == ".npy":
        write_array(path, values)
        return
    frame = answer_frame(stage, values) if decisions else number_frame(stage, values)
    if ids is not None:
        name = files_of(stage).id_column or "id" if is_counter_name(ids.name) else ids.name
        if name in frame:
            raise DataError(f"{path}: ids and a class are both called {name!r}; rename the ids' column")
        frame.insert(0, name, ids.values)
    write_atomic(path, frame.to_csv(index=False))


def require_order_of_names(files: list[Path], names: list[str], ensemble: Path) -> None:
    """Raises DataError for one file twice, and where files are called like the members in another order."""
    if len({path.resolve() for path in files}) != len(files):
        raise DataError("a file of predictions is named twice; name each once")
    called = [_called_like(path, names) for path in files]
    for place, (path, member) in enumerate(zip(files, called, strict=True)):
        if member is not None and member != place and called.count(member) == 1:
            raise DataError(f"{path}: called like member {names[member]!r}, but it is given for {names[place]!r}; "
                            f"give the inputs in the order of {ensemble}: {', '.join(names)}")


def _called_like(path: Path, names: list[str]) -> int | None:
    """The member whose name a file's name has in it as whole words, the longest if there are several; or None."""
    file, array = split_array_name(path)
    stem = file.stem + (f":{array}" if array else "")
    for text in (stem, f"{file.parent.name}/{stem}"):
        found = [place for place, name in enumerate(names)
                 if re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text)]
        longest = [place for place in found if len(names[place]) == max(len(names[one]) for one in found)]
        if found:
            return longest[0] if len(longest) == 1 else None
    return None


def rows_in_one_order(tables: list[RawTable], id_name: str | None) -> tuple[list[RawTable], IdColumn | None, list[str]]:
    """All inputs in the order of the first that has ids, these ids, and notes. Raises DataError where ids differ.

    id_name: what the files of the search called them.
    """
    for table in tables:
        if table.rows != tables[0].rows:
            raise DataError(f"{table.path}: {table.rows} rows, but {tables[0].path} has {tables[0].rows}; give all "
                            "members' predictions of the same items")
    columns = [id_columns(table) for table in tables]
    picked = []
    for place, own in enumerate(columns):
        named = [one for one in own if one.name == id_name]
        others = [one for other, one in enumerate(columns) if other != place]
        picked.append(named[0] if named else pick_own_ids(own, others))
    lead = next((place for place, ids in enumerate(picked) if ids is not None), None)
    if lead is None:
        return [in_order(table, None, "")[0] for table in tables], None, ["no ids in the inputs: rows go by position"]
    ids = picked[lead]
    assert ids is not None
    if len(set(ids.values)) != len(ids.values):
        raise DataError(f"{tables[lead].path}: an id of column {ids.name!r} occurs twice; give each item one row")
    ordered = [in_order(table, ids.values, tables[lead].path, ids.name) for table in tables]
    without = [str(table.path) for table, own in ordered if own is None]
    notes = [f"no ids in {', '.join(without)}: rows are matched by position to {tables[lead].path}"] if without else []
    return [table for table, _ in ordered], ids, notes


def member_probs(
    stage: StageSpec, tables: list[RawTable], ensemble: Path, id_name: str | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Every member's (n, C) or (n,) float32 probabilities (or values), read as in the search, and notes.

    Raises DataError for other classes, other shapes, NaN, and numbers that are not what the search took them for.
    """
    names, shares, kind = stage.outputs.names, files_of(stage).members, KIND_OF[stage.outputs.link]
    inputs = [predictions_in(_own_column(table, member), id_name, _several(names))
              for table, member in zip(tables, shares, strict=True)]
    known, source = _several(names), ensemble
    if not names:  # of an older search: the first input that has names
        named = [place for place, (found, _) in enumerate(inputs) if found.names is not None and len(found.names) > 1]
        known = column_order(inputs[named[0]][0].names or []) if named else None
        source = tables[named[0]].path if named else ensemble
    if known is not None:
        require_one_order([(table.path, found.names) for table, (found, _) in zip(tables, inputs, strict=True)], known,
                          source)
    members, notes = [], []
    for table, member, (found, more) in zip(tables, shares, inputs, strict=True):
        values = found.values
        if known is not None:
            values, renamed = by_name(found, known, table.path, source)
            more += renamed
            if found.names is None and known != numbered(len(known)):
                more.append(f"no column names in {table.path}: its classes are matched by position to {source}")
        elif names and values.ndim != 1:
            raise DataError(f"{table.path}: {values.shape[1]} columns, but {ensemble} was found on one number an item; "
                            f"give the column {member.column or names[0]!r} alone")
        require_finite(values, table.path)
        scores = member.scores or decide_scores(values, kind)
        if member.scores is not None:
            more += require_same_scores(values, kind, scores, table.path, ensemble)
        probs, told = as_probs(values, kind, scores, table.path, member.temperature)
        members.append(probs)
        notes += more + (told if member.scores is None else [])
    require_alike([one.shape for one in members], [str(table.path) for table in tables])
    return members, notes


def _several(names: list[str]) -> list[str] | None:
    """The names of the classes where an item has several numbers, else None."""
    return names if len(names) > 1 else None


def _own_column(table: RawTable, member: FileMember) -> RawTable:
    """A table without the columns beside the one that this member had in the search, if that is there."""
    if table.frame is None or member.column is None or member.column not in table.frame:
        return table
    ids = [one.name for one in id_columns(table) if one.name != member.column]
    kept = [name for name in table.frame.columns if name == member.column or name in ids]
    return RawTable(table.path, table.files, table.frame[kept], index=table.index)


