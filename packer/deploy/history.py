"""Write a score into the ensemble's YAML: its `history` list. Nothing else in the file changes."""

from __future__ import annotations

import re
from pathlib import Path

from foldpack.errors import FoldpackError
from foldpack.files import write_atomic
from foldpack.settings.ensemble import EnsembleSpec, ScoreSpec, parse_spec, read_spec, write_spec
from foldpack.settings.strict_yaml import dump_strict, load_strict


def add_score(path: Path, score: ScoreSpec) -> None:
    """Append a score unless that version of that kernel has one. Comments in the file stay. Raises SpecError."""
    spec = read_spec(path)
    history = list(spec.history or [])
    if any((one.kernel, one.version) == (score.kernel, score.version) for one in history):
        return
    wanted = spec.model_copy(update={"history": [*history, score]})
    text = appended(path.read_text(encoding="utf-8"), score)
    if text is not None and says(text, wanted, path):
        write_atomic(path, text)
    else:  # a history that is not written as a plain list
        write_spec(path, wanted)


def says(text: str, wanted: EnsembleSpec, path: Path) -> bool:
    """Whether a YAML text means this very ensemble."""
    try:
        return parse_spec(load_strict(text, str(path)), path) == wanted
    except FoldpackError:
        return False


def appended(text: str, score: ScoreSpec) -> str | None:
    """The text with one more entry at the end of its history; None when the history is not a list of lines."""
    entry = dump_strict([score.model_dump(mode="json", exclude_none=True)]).rstrip("\n").split("\n")
    lines = text.rstrip("\n").split("\n")
    starts = [number for number, line in enumerate(lines) if re.match(r"history\s*:", line)]
    if not starts:
        return "\n".join([*lines, "history:", *entry]) + "\n"
    if lines[starts[0]].rstrip() != "history:":
        return None
    end = starts[0] + 1
    while end < len(lines) and (not lines[end] or lines[end][0] in " -#"):
        end += 1
    indent = " " * (len(lines[starts[0] + 1]) - len(lines[starts[0] + 1].lstrip(" "))) if end > starts[0] + 1 else ""
    return "\n".join([*lines[:end], *(indent + line for line in entry), *lines[end:]]) + "\n"
