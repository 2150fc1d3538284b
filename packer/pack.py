"""Pack an entry: from source text to one script, or to a PackError that names every place that stands in the way."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packer.errors import PackError
from packer.graph import Graph, Layout, read_graph
from packer.render import KEYS_LINE, Run, render_script
from packer.rules import check_graph
from packer.runtime import RUNTIME_FILES, runtime_module
from packer.shake import Shaken, shake

SIZE_LIMIT = 1_000_000  # Kaggle refuses a kernel source of 1 MB
SIZE_WARNING = 800_000
PACK_FORMAT = 1  # raise when the same inputs give other bytes


@dataclass(frozen=True)
class PackReport:
    """What went into a script and what stayed out."""

    shaken: Shaken
    lines: dict[str, list[Run]]
    size: int  # bytes
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PackResult:
    """A packed script without keys, its id (hex SHA-256 of its inputs) and the report on it."""

    text: str
    pack_id: str
    report: PackReport


def pack_entry(
    entry: Path,
    src: Path,
    package: str,
    *,
    spec: dict[str, object] | None = None,
    command: str = "",
    commit: str = "",
) -> PackResult:
    """Pack `entry` with all it reaches in `src/package` into one script.

    spec: plain data; given, the script calls `main(SPEC, KEYS)`, else `main()`. command: what to say made the script.
    commit: the sources' commit, "" to say none. Raises PackError.
    """
    graph = read_graph(Layout(src, package, entry))
    violations = check_graph(graph, with_spec=spec is not None)
    if violations:
        raise PackError.from_violations(violations)
    shaken = shake(graph)
    pack_id = compute_pack_id(graph, spec)
    header = [f"# pack id {pack_id}", f"# {command}"]
    text, lines = render_script(header, shaken, spec)
    report = PackReport(shaken, lines, len(text.encode("utf-8")))
    return PackResult(text, pack_id, report)


def compute_pack_id(graph: Graph, spec: dict[str, object] | None, extras: Sequence[str] = ()) -> str:
    """Hex SHA-256 over the format, the package's name, the text of every reached module, the spec and what is added."""
    digest = hashlib.sha256()
    parts = [f"foldpack pack {PACK_FORMAT}", graph.layout.package, repr(spec)]
    parts += [runtime_module(file).text for file in RUNTIME_FILES]
    for module in sorted(graph.modules, key=lambda each: each.shown):
        parts += [module.shown, module.text]
    for part in [*parts, *extras]:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def inject_keys(text: str, keys: dict[str, str]) -> str:
    """The script with `keys` in its KEYS line; no other line changes, and no line is added.

    keys: opaque text by name. Raises PackError when the script has no empty KEYS line.
    """
    for name, key in keys.items():
        if type(name) is not str or type(key) is not str:
            raise PackError(f"keys are text by name; {name!r} holds a {type(key).__name__}")
    lines = text.split("\n")
    at = keys_line(text)
    lines[at] = KEYS_LINE.removesuffix("{}") + ascii(keys)
    return "\n".join(lines)


def keys_line(text: str) -> int:
    """The index of the line that holds the empty KEYS."""
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "KEYS":
            if lines[node.lineno - 1] == KEYS_LINE:
                return node.lineno - 1
            raise PackError("the script already holds keys; give the keyless pack")
    raise PackError("the script has no KEYS line; only a pack with a spec takes keys")
