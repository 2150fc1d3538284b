"""The script's text: header, imports, SPEC, the packer's own lines, source slices under their paths, and the tail.

Where the entry has a `begin`, the slices that it reaches come first, and only then the imports of other packages.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from packer.errors import PackError
from packer.flatten.first_part import BEGIN, first_part
from packer.flatten.imports import render_imports
from packer.flatten.keys import KEYS_LINE
from packer.flatten.literal import render_literal
from packer.flatten.runtime import CARRIED, TRACEBACKS, WHEELS, runtime_module
from packer.flatten.shake import Shaken
from packer.flatten.source import Import, Module
from packer.image.image import is_stdlib

SPEC_LEAD = "SPEC: dict = "
LINES_NAME = "PACKED_LINES"
RUNS_A_LINE = 4
PRELUDE_HEAD = (
    "# Packages that the image lacks, made importable before the imports below, here and in worker processes.",
    'if __name__ in ("__main__", "__mp_main__"):',
)
GUARD_HEAD = ("# Above, only the standard library is imported. What follows takes seconds, and may fail.",)

Run = tuple[int, int, int]  # line in the script, line in the source, number of lines


@dataclass
class Piece:
    """A part of the script under one banner: runs of source lines, each with the line that it starts at."""

    path: str
    banner: str
    runs: list[tuple[int, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Additions:
    """What a script brings along besides the project: packages that it carries, wheels that it installs."""

    archive: Sequence[str] = ()  # comment lines for the end of the script
    dataset: str = ""  # the wheels' dataset, "" for none
    wheels: Sequence[str] = ()  # `name` or `name==version`


def render_script(
    header: Iterable[str], shaken: Shaken, spec: dict[str, object] | None, additions: Additions
) -> tuple[str, dict[str, list[Run]]]:
    """The script and its line table (source path -> runs). header: comment lines."""
    first = first_part(shaken.graph)
    early, late = module_pieces(shaken, first)
    top, below = (head_lines(shaken, additions), []) if first is None else guarded_lines(shaken, spec, additions)
    lines = [*header, "", "from __future__ import annotations", "", *top]
    if spec is not None:
        lines += ["", *render_literal(spec, SPEC_LEAD).split("\n"), KEYS_LINE]
    lines += ["", "# Where each line came from: source path -> (line here, line there, number of lines)."]
    start = len(lines) + table_size([*early, *late]) + 1
    table: dict[str, list[Run]] = {}
    body: list[str] = []
    add_piece(body, runtime_piece(TRACEBACKS), start, {})
    body += ["", "", f"install_true_tracebacks({LINES_NAME}, {'{}' if spec is None else 'KEYS'})"]
    for piece in early:
        add_piece(body, piece, start, table)
    body += below
    for piece in late:
        add_piece(body, piece, start, table)
    lines += table_lines(table)
    if len(lines) + 1 != start:
        raise PackError("the line table has another size than planned; please report this as a bug")
    arguments = "" if spec is None else "SPEC, KEYS"
    tail = ["", "", 'if __name__ == "__main__":', f"    raise SystemExit(main({arguments}))"]
    if additions.archive:
        tail += ["", "", "# ======== carried packages: solid xz in base85 ========", *additions.archive]
    return "\n".join([*lines, *body, *tail]) + "\n", table


def module_pieces(shaken: Shaken, first: Shaken | None) -> tuple[list[Piece], list[Piece]]:
    """The kept slices of all modules in running order: those of the first part, and the others."""
    early: list[Piece] = []
    late: list[Piece] = []
    for module in shaken.graph.modules:
        begun = {statement.start for statement in module.statements if first and first.keeps(module, statement)}
        kept = [statement for statement in module.statements if shaken.keeps(module, statement)]
        for pieces, chosen in ((early, [each for each in kept if each.start in begun]),
                               (late, [each for each in kept if each.start not in begun])):
            if chosen:
                banner = module.shown + (", the rest" if pieces is late and begun else "")
                pieces.append(make_piece(module, [(each.start, each.end) for each in chosen], banner))
    return early, late


def head_lines(shaken: Shaken, additions: Additions) -> list[str]:
    """Imports; with additions, what makes packages importable stands between the standard library and the others."""
    imports = script_imports(shaken, additions)
    prelude = [line for file, call in addition_calls(additions) for line in prelude_lines(file, call)]
    if not prelude:
        return render_imports(imports)
    own = render_imports(each for each in imports if is_stdlib(each.root))
    rest = render_imports(each for each in imports if not is_stdlib(each.root))
    return [*own, "", *PRELUDE_HEAD, *prelude, *(["", *rest] if rest else [])]


def guarded_lines(
    shaken: Shaken, spec: dict[str, object] | None, additions: Additions
) -> tuple[list[str], list[str]]:
    """For a script with a first part: the imports of the standard library, for its top; and what stands below the
    first part, the imports of all else in a `with begin(...):`."""
    imports = script_imports(shaken, additions)
    top = render_imports(each for each in imports if is_stdlib(each.root))
    rest = render_imports(each for each in imports if not is_stdlib(each.root))
    below: list[str] = []
    calls = addition_calls(additions)
    for file, _ in calls:
        add_piece(below, runtime_piece(file), 0, {})
    running = '__name__ == "__main__"'
    below += ["", "", *GUARD_HEAD, f"with {BEGIN}({running if spec is None else f'SPEC, {running}'}):"]
    if calls:
        below += ['    if __name__ in ("__main__", "__mp_main__"):', *(f"        {call}" for _, call in calls)]
    below += [f"    {line}" if line else "" for line in rest]
    return top, below if calls or rest else [*below, "    pass"]


def script_imports(shaken: Shaken, additions: Additions) -> list[Import]:
    """All imports of the script, those of the packer's own lines too."""
    imports = [each for kept in shaken.outside.values() for each in kept]
    for file in (TRACEBACKS, *(file for file, _ in addition_calls(additions))):
        imports += runtime_module(file).plain_imports
    return imports


def addition_calls(additions: Additions) -> list[tuple[str, str]]:
    """The runtime modules that make packages importable, each with its call."""
    calls: list[tuple[str, str]] = []
    if additions.wheels:
        wheels = ", ".join(map(ascii, additions.wheels))
        calls.append((WHEELS, f"install_wheels({additions.dataset!a}, [{wheels}])"))
    if additions.archive:
        calls.append((CARRIED, "install_carried(__file__)"))
    return calls


def prelude_lines(file: str, call: str) -> list[str]:
    """A runtime module and its call, indented into the block above the imports that need it."""
    piece = runtime_piece(file)
    lines = [line for _, run in piece.runs for line in run]
    inner = [f"# -------- {piece.banner} --------", *lines, "", call]
    return ["", *(f"    {line}" if line.strip() else "" for line in inner)]


def runtime_piece(file: str) -> Piece:
    """All of a runtime module but its imports and docstring."""
    module = runtime_module(file)
    spans = [(statement.start, statement.end) for statement in module.statements if statement.kind == "code"]
    return make_piece(module, spans, f"{module.shown}, added by the packer")


def make_piece(module: Module, spans: list[tuple[int, int]], banner: str) -> Piece:
    """Slices (first and last line) as runs; no blank lines at the head, though a slice has those above it."""
    piece = Piece(module.shown, banner)
    for start, end in spans:
        lines = module.lines[start - 1 : end]
        if piece.runs and piece.runs[-1][0] + len(piece.runs[-1][1]) == start:
            piece.runs[-1][1].extend(lines)
        else:
            piece.runs.append((start, lines))
    start, lines = piece.runs[0]
    blank = next(number for number, line in enumerate(lines) if line.strip())
    piece.runs[0] = (start + blank, lines[blank:])
    return piece


def add_piece(body: list[str], piece: Piece, start: int, table: dict[str, list[Run]]) -> None:
    """Append a piece to `body`, whose first line is line `start` of the script, and note its runs in the table."""
    body += ["", "", f"# ======== {piece.banner} ========"]
    if piece.runs[0][1][0].startswith(("def ", "class ", "async ", "@", "#")):
        body += ["", ""]
    for source_line, lines in piece.runs:
        table.setdefault(piece.path, []).append((start + len(body), source_line, len(lines)))
        body += lines


def table_size(pieces: list[Piece]) -> int:
    """Lines that the table will take; the number of runs decides it, not the line numbers."""
    runs: dict[str, int] = {}
    for piece in pieces:
        runs[piece.path] = runs.get(piece.path, 0) + len(piece.runs)
    return 2 + sum(2 + -(-count // RUNS_A_LINE) for count in runs.values())


def table_lines(table: dict[str, list[Run]]) -> list[str]:
    """The line table as source lines."""
    lines = [f"{LINES_NAME}: PackedLines = {{"]
    for path, runs in table.items():
        lines.append(f'    "{path.encode("unicode_escape").decode("ascii")}": [')
        for number in range(0, len(runs), RUNS_A_LINE):
            lines.append("        " + ", ".join(map(str, runs[number : number + RUNS_A_LINE])) + ",")
        lines.append("    ],")
    return [*lines, "}"]


def read_line_table(script: str) -> dict[str, list[Run]]:
    """The line table of a packed script. Raises PackError for a text that has none."""
    node = find_assignment(script, LINES_NAME)
    if node is None:
        raise PackError(f"not a packed script: it has no {LINES_NAME}; give the .py file that the packer wrote")
    table: dict[str, list[Run]] = ast.literal_eval(node)
    return table


def read_embedded_spec(script: str) -> dict[str, object] | None:
    """The spec inside a packed script, None when it was packed without one."""
    node = find_assignment(script, "SPEC")
    spec: dict[str, object] | None = None if node is None else ast.literal_eval(node)
    return spec


def find_assignment(script: str, name: str) -> ast.expr | None:
    """The value that a script assigns to an annotated top-level name. Raises PackError for what is no Python."""
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError) as error:
        raise PackError(f"not a packed script: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.value
    return None
