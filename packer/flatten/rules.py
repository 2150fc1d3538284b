"""The rules of packable code: imports (1, 2) and names (3) here, bodies (4, 5, 6) in `rules_body`, the first
part of a script (7) in `first_part`; all told at once.

docs/packing.md lists them with examples. The packer refuses what it cannot pack faithfully; it never rewrites.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from packer.errors import Violation
from packer.flatten.first_part import first_part_violations
from packer.flatten.graph import Graph, Layout, read_graph
from packer.flatten.nodes import FunctionNode, takes
from packer.flatten.rules_body import body_violations
from packer.flatten.runtime import reserved_names, runtime_imports
from packer.flatten.source import Import, Module, Statement
from packer.image.image import Image, is_stdlib, kaggle_image

USUAL_ALIASES = {
    "albumentations": "A",
    "lightgbm": "lgb",
    "matplotlib.pyplot": "plt",
    "numpy": "np",
    "pandas": "pd",
    "seaborn": "sns",
    "tensorflow": "tf",
    "torch.nn": "nn",
    "torch.nn.functional": "F",
    "xgboost": "xgb",
}
# Every module has these, or Python puts them where code can see them.
GIVEN_NAMES = frozenset(dir(builtins)) | {"__file__", "__name__", "__class__", "__path__", "__package__"}
GIVEN_NAMES |= {"__qualname__", "__module__", "WindowsError"}
BUILTINS = frozenset(dir(builtins)) - {"_", "copyright", "credits", "license"} | {"exit", "quit"}


@dataclass(frozen=True)
class Meaning:
    """What an imported name stands for in one module."""

    dotted: str
    form: str  # "import" or "from": `import torch.nn as nn` and `from torch import nn` mean the same
    module: Module
    each: Import


def check_project(src: Path, package: str, entries: Iterable[Path]) -> list[Violation]:
    """Every violation in what the entries reach, sorted by place. Packable is what an entry reaches by its imports.

    Names must be unique over all entries' modules together, so that any of them may meet in one script one day.
    """
    cache: dict[Path, Module | Violation] = {}
    found: set[Violation] = set()
    modules: dict[str, Module] = {}
    for entry in entries:
        graph = read_graph(Layout(src, package, entry), cache)
        found.update(check_graph(graph))
        modules.update((module.name, module) for module in graph.modules if module.name)
    found.update(name_violations(list(modules.values()), Layout(src, package, src)))
    return sorted(found)


def check_graph(graph: Graph, provided: frozenset[str] = frozenset(), with_spec: bool | None = None) -> list[Violation]:
    """Every violation in one entry and its modules, sorted by place.

    provided: import names that vendoring or wheels bring. with_spec: whether `main` gets SPEC and KEYS; None: any.
    """
    found = list(graph.violations)
    for module in graph.modules:
        found += future_violations(module)
        found += first_party_violations(module, graph)
        found += package_violations(module, graph, provided, kaggle_image())
        found += body_violations(module, graph)
    found += name_violations(graph.modules, graph.layout)
    found += global_violations(graph)
    if graph.entry is not None:
        found += main_violations(graph.entry, with_spec)
    found += first_part_violations(graph, with_spec)
    return sorted(set(found))


def future_violations(module: Module) -> Iterator[Violation]:
    """`from __future__ import annotations` stands first in every module, as it will in the script."""
    statements = [statement for statement in module.statements if statement.kind != "doc"]
    futures = [each for each in module.imports if each.module == "__future__"]
    if statements and not any(each.name == "annotations" for each in futures):
        mend = "put `from __future__ import annotations` first"
        yield Violation(module.shown, 1, 1, "annotations would be evaluated here but not in the script", mend)
    for each in futures:
        if each.name != "annotations":
            yield Violation(module.shown, each.line, 1, f"`{each}`", "remove it: only `annotations` is allowed")


def first_party_violations(module: Module, graph: Graph) -> Iterator[Violation]:
    """Rule 1: `from package.room.module import name`, at the top, and the name is defined there."""
    package = graph.layout.package
    good = f"write `from {package}.room.module import name`"
    for each in module.imports:
        if not graph.layout.owns(each) or each.place == "the main guard":
            continue
        problem = ""
        if each.level:
            problem, mend = f"relative import `{each}`", good
        elif not each.name:
            problem, mend = f"`{each}` imports a module", f"{good}, and use the name alone"
        elif each.name == "*":
            problem, mend = f"star import `{each}`", "import each name"
        elif each.alias:
            problem, mend = f"`{each}` gives the name an alias", "use the name itself"
        elif each.place:
            problem, mend = f"`{each}` inside {each.place}", "move it to the top of the module"
        elif graph.layout.module_path(f"{each.module}.{each.name}") is not None:
            problem, mend = f"`{each}` imports a module", f"write `from {each.module}.{each.name} import name`"
        elif graph.target(each) is None and each.module in graph.by_name:
            problem, mend = missing_name(each, graph.by_name[each.module])
        if problem:
            yield Violation(module.shown, each.line, 1, problem, mend)


def missing_name(each: Import, target: Module) -> tuple[str, str]:
    """What is wrong with taking a name from a module that does not define it, and the mend."""
    if each.name in target.top_imports:
        return f"`{each}`: {each.module} only imports that name", f"write `{target.top_imports[each.name]}`"
    close = get_close_matches(each.name, target.defined, n=1)
    mend = f"did you mean {close[0]!r}?" if close else f"define it in {target.shown}, or import it from where it is"
    return f"`{each}`: {each.module} defines no {each.name!r}", mend


def package_violations(module: Module, graph: Graph, provided: frozenset[str], image: Image) -> Iterator[Violation]:
    """Rule 2: other packages are the standard library's, or on the Kaggle image, under their usual alias."""
    for each in module.imports:
        if graph.layout.owns(each) or each.module == "__future__" or each.place == "the main guard":
            continue
        if each.name == "*":
            yield Violation(module.shown, each.line, 2, f"star import `{each}`", "import each name")
        if not (is_stdlib(each.root) or each.root in provided or image.distribution(each.root)):
            mend = f"use what is there, add `vendor: [{each.root}]` to the spec, or attach a wheel dataset (`wheels:`)"
            if graph.layout.module_path(each.root) is not None:
                mend = f"move what you need into the package {graph.layout.package}"
            found = f"{each.root!r} is not on the Kaggle image of {image.date}"
            yield Violation(module.shown, each.line, 2, found, mend)
        usual = USUAL_ALIASES.get(each.meaning if each.alias or each.name else each.module)
        if usual and not each.place and each.bound not in (usual, each.name or each.root):
            yield Violation(module.shown, each.line, 2, f"`{each}`", f"its usual alias is {usual}")


def name_violations(modules: list[Module], layout: Layout) -> list[Violation]:
    """Rule 3: a top-level name means one thing in all modules; rule 2: one thing has one name."""
    checker = NameChecker(layout)
    for each in runtime_imports():
        checker.add_import(each[0], each[1])
    for module in modules:
        for imported in module.plain_imports:
            if not layout.owns(imported):
                checker.add_import(module, imported)
    for module in modules:
        checker.add_definitions(module)
        checker.check_lookups(module)
    return checker.found


class NameChecker:
    """Collects what every name means; the first meaning stands, later ones are violations."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.found: list[Violation] = []
        self.meanings: dict[str, Meaning] = {}
        self.bound: dict[str, Meaning] = {}  # dotted meaning -> the first import that binds it
        self.definitions: dict[str, tuple[Module, int]] = {}

    def refuse(self, module: Module, line: int, rule: int, found: str, mend: str) -> None:
        self.found.append(Violation(module.shown, line, rule, found, mend))

    def add_import(self, module: Module, each: Import) -> None:
        form = "from" if each.name else "import"
        new = Meaning(each.meaning, form, module, each)
        first = self.meanings.setdefault(each.bound, new)
        there = f"{first.module.shown}:{first.each.line}"
        if first.dotted != new.dotted:
            found = f"`{each}`: {each.bound} means {first.dotted} in {there}"
            self.refuse(module, each.line, 3, found, "let one name mean one thing: import one of them differently")
        elif first.form != form:
            self.refuse(module, each.line, 2, f"`{each}`, but `{first.each}` in {there}", "use one form everywhere")
        whole = bool(each.alias or each.name)
        other = self.bound.setdefault(new.dotted, new) if whole or "." not in each.module else new
        if other.each.bound != each.bound:
            where = f"{other.module.shown}:{other.each.line}"
            self.refuse(module, each.line, 2, f"`{each}`, but `{other.each}` in {where}", "use one alias everywhere")
        if each.bound in BUILTINS:
            self.refuse(module, each.line, 3, f"`{each}` hides the builtin {each.bound}", "import its module instead")
        if each.bound in reserved_names():
            self.refuse(module, each.line, 3, f"`{each}`: the script uses {each.bound} itself", "give it another name")

    def add_definitions(self, module: Module) -> None:
        for name, statements in module.defined.items():
            line = statements[0].first
            if name == "__all__":
                continue
            if name.startswith("__") and name.endswith("__"):
                self.refuse(module, line, 3, f"module-level {name}", "remove it: the script is no package")
            elif name in BUILTINS:
                self.refuse(module, line, 3, f"{name!r} hides the builtin in every module of the script", "rename it")
            elif name in reserved_names():
                self.refuse(module, line, 3, f"{name!r} is a name that the script uses itself", "rename it")
            if len(statements) > 1 and not are_overloads(statements):
                again = f"{name!r} is defined again (first in line {line})"
                self.refuse(module, statements[1].first, 3, again, "rename it")
            self.check_unique(module, name, line)

    def check_unique(self, module: Module, name: str, line: int) -> None:
        first, first_line = self.definitions.setdefault(name, (module, line))
        if first is not module:
            found = f"{name!r} is already defined in {first.shown}:{first_line}"
            self.refuse(module, line, 3, found, "rename one of them: all modules share one script")
        imported = self.meanings.get(name)
        if imported is not None:
            found = f"{name!r} is also an import: `{imported.each}` in {imported.module.shown}:{imported.each.line}"
            self.refuse(module, line, 3, found, "rename it")
        elif name in module.top_imports:
            found = f"{name!r} is also imported: `{module.top_imports[name]}`"
            self.refuse(module, line, 3, found, "rename it")

    def check_lookups(self, module: Module) -> None:
        """A name that a module does not define may be another module's: in the script it would be found."""
        known = set(module.defined) | set(module.top_imports) | GIVEN_NAMES
        for statement in module.statements:
            if statement.kind != "code":
                continue
            for name in sorted(statement.looked_up[0] - known):
                reads = (node for node in ast.walk(statement.node) if isinstance(node, ast.Name))
                lines = [node.lineno for node in reads if node.id == name]
                found = f"{name!r} is not defined in this module"
                self.refuse(module, min(lines, default=statement.first), 3, found, "define or import it")


def are_overloads(statements: list) -> bool:
    """Whether all but the last definition of a name are `@overload` signatures."""
    return all(
        isinstance(statement.node, FunctionNode)
        and any(getattr(each, "attr", getattr(each, "id", "")) == "overload" for each in statement.node.decorator_list)
        for statement in statements[:-1]
    )


def global_violations(graph: Graph) -> Iterator[Violation]:
    """Rule 4: a name that a function rebinds with `global` must not be imported elsewhere: importers keep the old."""
    importers: dict[tuple[str, str], str] = {}
    for module in graph.modules:
        for each in module.imports:
            importers.setdefault((each.module, each.name), f"{module.shown}:{each.line}")
    for module in graph.modules:
        for statement in module.statements:
            for name, line in declared_global(statement):
                there = importers.get((module.name, name)) if module.name else None
                if there:
                    found = f"`global {name}` rebinds a name that {there} imports"
                    yield Violation(module.shown, line, 4, found, "pass the value as an argument")
                elif name not in module.defined:
                    found = f"`global {name}`, but the module does not define it"
                    yield Violation(module.shown, line, 3, found, "define it at the top")


def declared_global(statement: Statement) -> Iterator[tuple[str, int]]:
    """Names that functions of a statement declare `global`, with their lines."""
    for node in ast.walk(statement.node) if "global " in statement.text else []:
        if isinstance(node, ast.Global):
            yield from ((name, node.lineno) for name in node.names)


def main_violations(entry: Module, with_spec: bool | None) -> Iterator[Violation]:
    """The entry defines `main`, which takes what the script gives it."""
    given = ["SPEC", "KEYS"] if with_spec else []
    statements = entry.defined.get("main", [])
    node = statements[-1].node if statements else None
    if not isinstance(node, FunctionNode):
        line = statements[-1].first if statements else 1
        want = "def main(spec: dict, keys: dict[str, str]) -> int" if with_spec is not False else "def main() -> int"
        yield Violation(entry.shown, line, 0, "the entry defines no function main", f"write `{want}`")
        return
    if with_spec is None:
        return
    if not takes(node, len(given)):
        found = f"the script will call `main({', '.join(given)})`, which main does not take"
        mend = "change its arguments" if with_spec else "give its arguments defaults, or pack with a spec"
        yield Violation(entry.shown, node.lineno, 0, found, mend)
