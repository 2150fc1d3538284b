"""The script's text: header, imports, SPEC, the packer's own lines, source slices under their paths, and the tail.

Where the entry has a `begin`, the slices that it reaches come first, and only then the imports of other packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from packer.errors import PackError
from packer.flatten.first_part import BEGIN, first_part
from packer.flatten.header import contents_lines, contents_size
from packer.flatten.imports import render_imports
from packer.flatten.literal import literal_lines, render_literal
from packer.flatten.packed_script import LINES_NAME, Run
from packer.flatten.runtime import PACKAGES, TRACEBACKS, runtime_module
from packer.flatten.script_keys import KEYS_LINE
from packer.flatten.shake import Shaken
from packer.flatten.source import Module, Statement
from packer.image.image import is_stdlib

SPEC_LEAD = "SPEC: dict = "
RUNS_A_LINE = 4
GUARD_HEAD = "# Above, only the standard library is imported. What follows takes seconds, and may fail."


@dataclass
class Section:
    """A part of the script, as the table of contents has it.

    runs: of source lines, (place in `lines`, line in the source, number of lines).
    """

    title: str
    lines: list[str]
    path: str = ""  # of the source; "" for the packer's own lines
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The place of its first line that is not blank."""
        return next(number for number, line in enumerate(self.lines) if line)


@dataclass(frozen=True)
class Additions:
    """What a script brings along besides the project: packages that it carries, wheels that it installs."""

    archive: Sequence[str] = ()  # comment lines for the end of the script
    dataset: str = ""  # the wheels' dataset, "" for none
    wheels: Sequence[str] = ()  # `name` or `name==version`

    def __bool__(self) -> bool:
        return bool(self.archive or self.wheels)


def render_script(
    header: Sequence[str], shaken: Shaken, spec: dict[str, object] | None, additions: Additions
) -> tuple[str, dict[str, list[Run]]]:
    """The script and its line table (source path -> runs). header: comment lines."""
    sections = list(script_sections(shaken, spec, additions))
    table_at = 1 + (spec is not None)
    size = table_size(sections)
    sections.insert(table_at, Section(f"{LINES_NAME}, where each line came from", ["", *[LINES_NAME] * size]))
    starts, line = [], len(header) + contents_size(len(sections)) + 1
    for section in sections:
        starts.append(line)
        line += len(section.lines)
    table: dict[str, list[Run]] = {}
    for start, section in zip(starts, sections, strict=True):
        for at, source_line, count in section.runs:
            table.setdefault(section.path, []).append((start + at, source_line, count))
    sections[table_at].lines[1:] = table_lines(table)
    contents = contents_lines([(start + each.first, each.title) for start, each in zip(starts, sections, strict=True)])
    lines = [*header, *contents, *(each for section in sections for each in section.lines)]
    if len(lines) + 1 != line:
        raise PackError("the line table has another size than planned; please report this as a bug")
    return "\n".join(lines) + "\n", table


def script_sections(shaken: Shaken, spec: dict[str, object] | None, additions: Additions) -> Iterator[Section]:
    """All sections but the line table. Imports of other packages stand at the top, or in a `with` below the first
    part, or below what makes packages importable."""
    first = first_part(shaken.graph)
    early, late = module_sections(shaken, first)
    imports = [each for kept in shaken.outside.values() for each in kept]
    for file in (TRACEBACKS, *([PACKAGES] if additions else [])):
        imports += runtime_module(file).plain_imports
    guarded = [] if first is None and not additions else [each for each in imports if not is_stdlib(each.root)]
    top = render_imports(each for each in imports if each not in guarded)
    yield Section("imports", ["", "from __future__ import annotations", "", *top])
    if spec is not None:
        yield Section("SPEC and KEYS", ["", *render_literal(spec, SPEC_LEAD).split("\n"), KEYS_LINE])
    tracebacks = runtime_section(TRACEBACKS)
    tracebacks.lines += ["", "", f"install_true_tracebacks({LINES_NAME}, {'{}' if spec is None else 'KEYS'})"]
    yield tracebacks
    yield from early
    if additions:
        yield runtime_section(PACKAGES)
    if first is not None or additions:
        given = [*([] if spec is None else ["SPEC"]), '__name__ == "__main__"']
        heads = with_lines([] if first is None else given, additions)
        body = [f"    {line}" if line else "" for line in render_imports(guarded)] or ["    pass"]
        yield Section("imports of other packages", ["", "", GUARD_HEAD, *heads, *body])
    yield from late
    arguments = "" if spec is None else "SPEC, KEYS"
    yield Section("the start", ["", "", 'if __name__ == "__main__":', f"    raise SystemExit(main({arguments}))"])
    if additions.archive:
        yield Section("carried packages", ["", "", "# ======== carried packages: solid xz in base85 ========",
                                           *additions.archive])


def with_lines(given: list[str], additions: Additions) -> list[str]:
    """The head of the `with` around imports. given: what `begin` is called with; empty where the entry has none."""
    begin = f"{BEGIN}({', '.join(given)})" if given else ""
    if not additions:
        return [f"with {begin}:"]
    wheels = [line for value in (additions.dataset, [*additions.wheels]) for line in literal_lines(value, "", 4, ",")]
    return [f"with {begin}{', ' if begin else ''}packed_packages(", "    __name__,", "    __file__,", *wheels, "):"]


def module_sections(shaken: Shaken, first: Shaken | None) -> tuple[list[Section], list[Section]]:
    """The kept slices of all modules in running order: those of the first part, and the others."""
    early: list[Section] = []
    late: list[Section] = []
    for module in shaken.graph.modules:
        kept = [statement for statement in module.statements if shaken.keeps(module, statement)]
        begun = [statement for statement in kept if first and first.keeps(module, statement)]
        rest = [statement for statement in kept if statement not in begun]
        if begun:
            early.append(make_section(module, begun, module.shown))
        if rest:
            late.append(make_section(module, rest, module.shown + (", the rest" if begun else "")))
    return early, late


def runtime_section(file: str) -> Section:
    """All of a runtime module but its imports and docstring."""
    module = runtime_module(file)
    code = [statement for statement in module.statements if statement.kind == "code"]
    section = make_section(module, code, f"{module.shown}, added by the packer")
    section.runs = []
    return section


def make_section(module: Module, statements: Sequence[Statement], banner: str) -> Section:
    """Slices under a banner; no blank lines at their head, though a slice has those above it."""
    section = Section(banner, ["", "", f"# ======== {banner} ========"], module.shown)
    start = statements[0].start
    while not module.lines[start - 1].strip():
        start += 1
    if module.lines[start - 1].startswith(("def ", "class ", "async ", "@", "#")):
        section.lines += ["", ""]
    for statement in statements:
        start = max(start, statement.start)
        lines = module.lines[start - 1 : statement.end]
        at, source_line, count = section.runs[-1] if section.runs else (0, 0, 0)
        if source_line + count == start:
            section.runs[-1] = (at, source_line, count + len(lines))
        else:
            section.runs.append((len(section.lines), start, len(lines)))
        section.lines += lines
    return section


def table_size(sections: list[Section]) -> int:
    """Lines that the table will take; the number of runs decides it, not the line numbers."""
    runs: dict[str, int] = {}
    for section in sections:
        if section.runs:
            runs[section.path] = runs.get(section.path, 0) + len(section.runs)
    return 3 + sum(2 + -(-count // RUNS_A_LINE) for count in runs.values())


def table_lines(table: dict[str, list[Run]]) -> list[str]:
    """The line table as source lines."""
    lines = ["# Where each line came from: source path -> (line here, line there, number of lines).",
             f"{LINES_NAME}: PackedLines = {{"]
    for path, runs in table.items():
        lines.append(f'    "{path.encode("unicode_escape").decode("ascii")}": [')
        for number in range(0, len(runs), RUNS_A_LINE):
            lines.append("        " + ", ".join(map(str, runs[number : number + RUNS_A_LINE])) + ",")
        lines.append("    ],")
    return [*lines, "}"]
