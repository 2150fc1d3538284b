"""The script's text: header, imports, SPEC, the packer's own lines, source slices under their paths, and the tail."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from packer.errors import PackError
from packer.imports import render_imports
from packer.literal import render_literal
from packer.runtime import TRACEBACKS, runtime_module
from packer.shake import Shaken
from packer.source import Import, Module

KEYS_LINE = "KEYS: dict[str, str] = {}"
SPEC_LEAD = "SPEC: dict = "
LINES_NAME = "PACKED_LINES"
RUNS_A_LINE = 4
WIDTH = 120

Run = tuple[int, int, int]  # line in the script, line in the source, number of lines


@dataclass
class Piece:
    """A part of the script under one banner: runs of source lines, each with the line that it starts at."""

    banner: str
    path: str  # as the line table names it, "" when the lines are not to be found in a source
    runs: list[tuple[int, list[str]]] = field(default_factory=list)


def module_piece(module: Module, shaken: Shaken) -> Piece | None:
    """The kept slices of a module, neighbours joined into one run."""
    kept = [statement for statement in module.statements if shaken.keeps(module, statement)]
    if not kept:
        return None
    piece = Piece(module.shown, module.shown)
    for statement in kept:
        lines = module.lines[statement.start - 1 : statement.end]
        if piece.runs and piece.runs[-1][0] + len(piece.runs[-1][1]) == statement.start:
            piece.runs[-1][1].extend(lines)
        else:
            piece.runs.append((statement.start, lines))
    trim_piece(piece)
    return piece


def trim_piece(piece: Piece) -> None:
    """No blank lines at the head of a piece; a slice brings its own blank lines above it."""
    start, lines = piece.runs[0]
    blank = next(number for number, line in enumerate(lines) if line.strip())
    piece.runs[0] = (start + blank, lines[blank:])


def runtime_piece(module: Module) -> Piece:
    """All of a runtime module but its imports and docstring."""
    piece = Piece(f"{module.shown}, added by the packer", module.shown)
    for statement in module.statements:
        if statement.kind == "code":
            piece.runs.append((statement.start, module.lines[statement.start - 1 : statement.end]))
    trim_piece(piece)
    return piece


def render_script(
    header: Iterable[str], shaken: Shaken, spec: dict[str, object] | None, prelude: Iterable[str] = ()
) -> tuple[str, dict[str, list[Run]]]:
    """The script and its line table (source path -> runs).

    header: comment lines. prelude: lines that make packages importable, put before the imports that need them.
    """
    runtime = runtime_module(TRACEBACKS)
    pieces = [piece for module in shaken.graph.modules if (piece := module_piece(module, shaken)) is not None]
    kept_imports = [each for imports in shaken.outside.values() for each in imports]
    lines = [*header, "", "from __future__ import annotations", ""]
    lines += head_imports([*kept_imports, *runtime.top_imports.values()], list(prelude))
    if spec is not None:
        lines += ["", *render_literal(spec, SPEC_LEAD).split("\n"), "", KEYS_LINE]
    table_at = len(lines) + 3
    row_counts = {piece.path: -(-len(piece.runs) // RUNS_A_LINE) for piece in pieces}
    table_size = 2 + sum(2 + count for count in row_counts.values())
    body: list[str] = []
    start = table_at + table_size
    table: dict[str, list[Run]] = {}
    add_piece(body, runtime_piece(runtime), start, {})
    keys = "KEYS" if spec is not None else "{}"
    body += ["", "", f"install_true_tracebacks({LINES_NAME}, {keys})"]
    for piece in pieces:
        add_piece(body, piece, start, table)
    lines += ["", "# Where each line came from: source path -> (line here, line there, number of lines)."]
    lines += table_lines(table)
    if len(lines) != table_at - 1 + table_size:
        raise PackError("the line table has another size than planned; please report this as a bug")
    arguments = "SPEC, KEYS" if spec is not None else ""
    tail = ["", "", 'if __name__ == "__main__":', f"    raise SystemExit(main({arguments}))"]
    return "\n".join([*lines, *body, *tail]) + "\n", table


def head_imports(imports: list[Import], prelude: list[str]) -> list[str]:
    return render_imports(imports)


def add_piece(body: list[str], piece: Piece, start: int, table: dict[str, list[Run]]) -> None:
    """Append a piece to `body`, whose first line is line `start` of the script, and note its runs in the table."""
    body += ["", "", f"# ======== {piece.banner} ========"]
    for number, (source_line, lines) in enumerate(piece.runs):
        if number == 0 and first_is_block(lines):
            body += ["", ""]
        table.setdefault(piece.path, []).append((start + len(body), source_line, len(lines)))
        body += lines


def first_is_block(lines: list[str]) -> bool:
    return lines[0].startswith(("def ", "class ", "async ", "@", "#"))


def table_lines(table: dict[str, list[Run]]) -> list[str]:
    lines = [f"{LINES_NAME}: PackedLines = {{"]
    for path, runs in table.items():
        lines.append(f"    {ascii(path)}: [".replace("'", '"'))
        for number in range(0, len(runs), RUNS_A_LINE):
            lines.append("        " + ", ".join(map(str, runs[number : number + RUNS_A_LINE])) + ",")
        lines.append("    ],")
    return [*lines, "}"]


def read_line_table(script: str) -> dict[str, list[Run]]:
    """The line table of a packed script. Raises PackError for a text that has none."""
    node = find_assignment(script, LINES_NAME)
    table: dict[str, list[Run]] = ast.literal_eval(node)
    return table


def find_assignment(script: str, name: str) -> ast.expr:
    """The value that a packed script assigns to a top-level name. Raises PackError when it is not there."""
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError) as error:
        raise PackError(f"not a packed script: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            if node.value is not None:
                return node.value
    raise PackError(f"not a packed script: it has no {name}; give the .py file that the packer wrote")
