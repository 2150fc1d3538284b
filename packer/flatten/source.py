"""One source file as the packer sees it: its lines, and its top-level statements as slices of those lines.

A slice is a statement with the comments and blank lines above it: all slices of a module, joined, are the module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packer.errors import Violation
from packer.flatten.nodes import bound_names
from packer.flatten.scope import looked_up, quoted_names

OLDEST_GRAMMAR = (3, 10)
QUOTED = re.compile(r"""(["'])(.*?)\1""")
PROSE = re.compile(r"\w \w")  # a text with two words in a row is no type


@dataclass(frozen=True)
class Import:
    """One name of one import statement: `from module import name as alias`, or `import module as alias` (no name)."""

    module: str
    name: str
    alias: str  # "" without `as`
    level: int  # dots of a relative import
    line: int
    place: str  # "" at the top of the module, else what it stands in: "function f", "an if", "class C"

    @property
    def bound(self) -> str:
        """The name that it defines."""
        return self.alias or self.name or self.module.partition(".")[0]

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]

    @property
    def meaning(self) -> str:
        """What the bound name stands for, dotted: `import a.b` binds `a`, `from a import b` binds `a.b`."""
        if self.name:
            return f"{self.module}.{self.name}"
        return self.module if self.alias else self.root

    def __str__(self) -> str:
        tail = f" as {self.alias}" if self.alias else ""
        if self.name:
            return f"from {'.' * self.level}{self.module} import {self.name}{tail}"
        return f"import {self.module}{tail}"


@dataclass(frozen=True)
class Statement:
    """A top-level statement. Lines are counted from 1; `start..end` is the slice, `first` where the code begins."""

    node: ast.stmt
    kind: str  # "doc", "import", "guard" (`if __name__ == "__main__":`) or "code"
    start: int
    first: int
    end: int
    text: str  # from `first` on

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What it defines in the module."""
        return tuple(sorted(set(bound_names(self.node)))) if self.kind == "code" else ()

    @cached_property
    def looked_up(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names that it takes from the module around it, and those that it may take."""
        return (frozenset(), frozenset()) if self.kind == "import" else looked_up(self.node, self.text)


@dataclass(frozen=True)
class Module:
    """A parsed source file. `name` is dotted ("" for the entry), `shown` the path that people read."""

    name: str
    shown: str
    text: str
    tree: ast.Module

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def statements(self) -> list[Statement]:
        return list(cut_statements(self))

    @cached_property
    def imports(self) -> list[Import]:
        """Every import of the file in its order, wherever it stands."""
        return [each for statement in self.statements for each in statement_imports(statement)]

    @cached_property
    def top_imports(self) -> dict[str, Import]:
        """Imports at the top of the module, by the name that they define."""
        return {each.bound: each for each in self.plain_imports}

    @cached_property
    def plain_imports(self) -> list[Import]:
        """Imports at the top of the module but `__future__`; some may bind the same (`import os`, `import os.path`)."""
        return [each for each in self.imports if not each.place and each.module != "__future__"]

    @cached_property
    def bindings(self) -> dict[str, list[Import]]:
        """The plain imports by the name that they define."""
        found: dict[str, list[Import]] = {}
        for each in self.plain_imports:
            found.setdefault(each.bound, []).append(each)
        return found

    def uses(self, statement: Statement) -> frozenset[str]:
        """All names that a statement takes or may take from the module, also in annotations that are text."""
        types = [text for _, text in QUOTED.findall(statement.text) if not PROSE.search(text)]
        known = any(name in self.bindings or name in self.defined for name in re.findall(r"\w+", " ".join(types)))
        return frozenset().union(*statement.looked_up, quoted_names(statement.node) if known else ())

    @cached_property
    def defined(self) -> dict[str, list[Statement]]:
        """Top-level names that are defined here (not imported), each with its statements."""
        names: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.names:
                names.setdefault(name, []).append(statement)
        return names


def read_module(path: Path, shown: str, name: str) -> Module | Violation:
    """The module in `path`, or the violation of rule 0 that keeps it from being read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Violation(shown, 1, 0, "the file does not exist", "check the name")
    except OSError as error:
        return Violation(shown, 1, 0, f"cannot be read ({error.strerror})", "check the file and its rights")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Violation(shown, line, 0, "not UTF-8", "save the file as UTF-8")
    return parse_module(text, shown, name)


def parse_module(text: str, shown: str, name: str) -> Module | Violation:
    """The module that `text` holds; line ends become "\\n", as Python itself reads them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = ast.parse(text, filename=shown, feature_version=OLDEST_GRAMMAR)
    except SyntaxError as error:
        return Violation(shown, error.lineno or 1, 0, f"syntax error: {error.msg}", "mend it (grammar of Python 3.10)")
    except (ValueError, RecursionError, MemoryError) as error:
        return Violation(shown, 1, 0, f"cannot be parsed: {error or type(error).__name__}", "mend the file")
    module = Module(name, shown, text if text.endswith("\n") else text + "\n", tree)
    for statement in module.statements:
        try:
            statement.looked_up  # noqa: B018  asked now, since Python may refuse the scopes of what it could parse
        except SyntaxError as error:
            return Violation(shown, statement.first, 0, f"syntax error: {error.msg}", "mend it")
    return module


def cut_statements(module: Module) -> Iterator[Statement]:
    """Slices of the whole module in order. Comments indented below a block stay with that block."""
    lines, body = module.lines, module.tree.body
    joined = "\\" in module.text
    start = 1
    for number, node in enumerate(body):
        first = first_line(node, lines)
        end = last_line(node, lines) if joined else node.end_lineno or node.lineno
        following = first_line(body[number + 1], lines) if number + 1 < len(body) else len(lines)
        end = last_indented_comment(lines, end, following)
        if number + 1 == len(body):
            end = last_written_line(lines, end)
        text = "\n".join(lines[first - 1 : end])
        yield Statement(node, statement_kind(node, number), start, first, end, text)
        start = end + 1


def first_line(node: ast.stmt, lines: list[str]) -> int:
    """The line where a statement begins, its decorators included."""
    decorators = getattr(node, "decorator_list", [])
    if not decorators:
        return node.lineno
    line: int = decorators[0].lineno
    while not lines[line - 1].lstrip().startswith("@"):  # `@(` with the expression on a later line
        line -= 1
    return line


def last_line(node: ast.stmt, lines: list[str]) -> int:
    """The line where a statement ends, with the lines that a trailing backslash joins to it."""
    end, column = node.end_lineno or node.lineno, node.end_col_offset or 0
    line = lines[end - 1]
    rest = line[column:] if line.isascii() else line.encode("utf-8")[column:].decode("utf-8")
    while "\\" in rest and re.fullmatch(r"[^#]*\\[ \t]*", rest) and end < len(lines):
        end += 1
        rest = lines[end - 1]
    return end


def last_indented_comment(lines: list[str], end: int, following: int) -> int:
    """The last indented comment line before the next statement; `end` if there is none."""
    last = end
    for line in range(end + 1, following):
        if lines[line - 1][:1] in (" ", "\t") and lines[line - 1].lstrip().startswith("#"):
            last = line
    return last


def last_written_line(lines: list[str], end: int) -> int:
    """Comments after the last statement belong to it."""
    last = end
    for line in range(end + 1, len(lines) + 1):
        if lines[line - 1].strip():
            last = line
    return last


def statement_kind(node: ast.stmt, number: int) -> str:
    """What a top-level statement is."""
    if number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return "doc" if isinstance(node.value.value, str) else "code"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "import"
    return "guard" if is_main_guard(node) else "code"


def is_main_guard(node: ast.stmt) -> bool:
    """Whether this is `if __name__ == "__main__":` without an else."""
    if not isinstance(node, ast.If) or node.orelse or not isinstance(node.test, ast.Compare):
        return False
    return ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")


def statement_imports(statement: Statement) -> Iterator[Import]:
    """The imports of one top-level statement, or in it."""
    if "import" in statement.text:
        yield from find_imports([statement.node], "")


def find_imports(body: list[ast.stmt], place: str) -> Iterator[Import]:
    """Imports of a block and of the blocks inside it."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", alias.asname or "", 0, node.lineno, place)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.module or "", alias.name, alias.asname or "", node.level, node.lineno, place)
        else:
            inside = place or place_name(node)
            for block in inner_blocks(node):
                yield from find_imports(block, inside)


def place_name(node: ast.stmt) -> str:
    """What surrounds an import, for messages."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return f"function {node.name}"
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    if is_main_guard(node):
        return "the main guard"
    kind = type(node).__name__.lower()
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} block"


def inner_blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statement lists directly inside a statement."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, (ast.ExceptHandler, ast.match_case)):
                    yield item.body
