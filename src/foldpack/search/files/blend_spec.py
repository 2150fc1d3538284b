"""The YAML of an ensemble as `foldpack blend` reads it: of files or of runs, of today or of version 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from foldpack.metrics.registry import known_metric
from foldpack.search.cells.cells import Kind
from foldpack.settings.ensemble import EnsembleSpec, lift_threshold, load_spec, parse_spec
from foldpack.settings.file_members import FileMember, FilesSpec
from foldpack.settings.stages import StageSpec

KIND_OF: dict[str, Kind] = {"softmax": "exclusive", "sigmoid": "labels", "identity": "values"}
LINK_OF: dict[Kind, Literal["softmax", "sigmoid"]] = {"exclusive": "softmax", "labels": "sigmoid"}


def read_blend(path: Path) -> EnsembleSpec:
    """Read an ensemble of files or of runs. Raises SpecError or YamlError."""
    data = load_spec(path)
    if isinstance(data, dict) and "kind" in data and "stages" not in data:
        data = lift_files(data)
    return parse_spec(data, path)


def files_of(stage: StageSpec) -> FilesSpec:
    """The members as files: those of runs by their names."""
    if stage.files is not None:
        return stage.files
    return FilesSpec(members=[FileMember(name=member.run, weight=member.weight, sha256=member.folds[0].sha256)
                              for member in stage.members])


def lift_files(data: dict[str, Any]) -> dict[str, Any]:
    """A blend of files of version 1 as one of version 2. What it does not know stays for the check."""
    rest = {key: value for key, value in data.items() if value is not None} | {"version": 2}
    kind, names = rest.pop("kind"), rest.pop("classes", [])
    prior = rest.pop("prior", [])
    outputs: dict[str, Any] = {"kind": "values", "names": names, "prior": prior}
    if kind != "values":
        outputs = {"kind": "classes", "link": LINK_OF.get(kind, kind), "names": names, "prior": prior}
    limits: dict[str, Any] = {key: rest.pop(key) for key in ("min_labels", "max_labels") if key in rest}
    parts: dict[str, Any] = {key: rest.pop(key) for key in ("threshold", "cuts", "new_score") if key in rest}
    fuse = rest.pop("blend", None)
    stage: dict[str, Any] = {"name": "blend", "task": "blend", "outputs": outputs,
                             "fuse": {"kind": "scores", **fuse} if isinstance(fuse, dict) else fuse,
                             "decision": _decision(kind, rest, parts, limits)}
    stage["files"] = {key: rest.pop(key) for key in ("members", "id_column", "label_column") if key in rest}
    if "level2" in rest:
        stage["level2"] = [lift_threshold(rest.pop("level2"), limits)]
    return {**rest, "stages": [stage]}


def _decision(kind: object, data: dict[str, Any], parts: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """What version 1 decided by the metric's name, and by the numbers that were there."""
    named = data.get("metric")
    metric = known_metric(str(named.get("name"))) if isinstance(named, dict) else None
    if "threshold" in parts:
        return {"kind": "labels", **parts, **limits}
    if "cuts" in parts:
        return {"kind": "grades", **parts}
    if metric is not None and metric.answer == "class" and kind == "exclusive" and not parts:
        return {"kind": "class"}
    if metric is not None and (metric.answer == "ranking" or parts):
        return {"kind": "ranking", "k": metric.map_at or metric.hit_at, "none_score": parts.get("new_score")}
    return {"kind": "values" if kind == "values" else "probs"}
