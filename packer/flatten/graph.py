"""The modules that an entry reaches, in the order in which Python itself would run them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from packer.errors import Violation
from packer.flatten.source import Import, Module, parse_module, read_module


@dataclass(frozen=True)
class Layout:
    """Where the sources lie, and how their paths are shown: relative to the folder that holds them all."""

    src: Path
    package: str
    entry: Path
    text: str | None = None  # of an entry that is no file
    project: Path | None = None  # folder of a user's own modules, which are packed like the package's
    shown_src: str = ""  # how `src` is shown: "src", or "." where the entry lies in it; "": as it is called
    paths: dict[str, Path | None] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.shown_src:
            object.__setattr__(self, "shown_src", os.path.relpath(os.path.realpath(self.src), self.root))

    @cached_property
    def root(self) -> Path:
        """The folder that paths are shown from: that of `src`, or `src` itself when the entry lies in it."""
        src = self.src.resolve()
        return src if self.text is None and self.entry.resolve().is_relative_to(src) else src.parent

    def shown(self, path: Path) -> str:
        """A path that does not depend on the machine or the working folder."""
        if self.text is not None and path == self.entry:
            return path.name
        path = Path(os.path.realpath(path))
        for folder, name in ((self.src, self.shown_src), (self.project, ""), (self.root, "")):
            here = Path(os.path.realpath(folder or self.root))
            if path.is_relative_to(here):
                return Path(name, path.relative_to(here)).as_posix()
        return path.name

    def base(self, name: str) -> Path:
        """The folder that a dotted module is looked for in."""
        return self.src if self.project is None or name.partition(".")[0] == self.package else self.project

    def module_path(self, name: str) -> Path | None:
        """The file of a dotted module of the package or the project, None when there is none; looked for once."""
        if name not in self.paths:
            base = self.base(name).joinpath(*name.split("."))
            places = (base.with_name(f"{base.name}.py"), base / "__init__.py")
            self.paths[name] = next((path for path in places if path.is_file()), None)
        return self.paths[name]

    def owns(self, each: Import) -> bool:
        """Whether an import is first-party: of the package, of the project, or relative."""
        if each.level or each.root == self.package:
            return True
        return self.project is not None and any(map(self.module_path, (each.root, each.module)))


@dataclass
class Graph:
    """The entry and all it reaches. `modules` is in running order: what is imported stands before who imports it."""

    layout: Layout
    entry: Module | None = None
    modules: list[Module] = field(default_factory=list)  # the entry last
    by_name: dict[str, Module] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def target(self, each: Import) -> Module | None:
        """The module that defines what a first-party `from module import name` imports, None when there is none.

        A module may take the name from a third one itself; names have no aliases, so it is the same name there.
        """
        seen: set[str] = set()
        while each.name and not each.level and not each.alias and each.module not in seen:
            seen.add(each.module)
            module = self.by_name.get(each.module)
            if module is None or each.name in module.defined:
                return module
            if each.name not in module.top_imports:
                return None
            each = module.top_imports[each.name]
        return None


def read_graph(layout: Layout, cache: dict[Path, Module | Violation] | None = None) -> Graph:
    """Follow the static imports from the entry. What cannot be read or runs in a circle becomes a violation.

    cache: modules read before, by path; it saves work when several entries are read in turn.
    """
    graph = Graph(layout)
    reader = GraphReader(graph, {} if cache is None else cache)
    reader.read_entry()
    return graph


class GraphReader:
    """Depth first over the imports, in their order."""

    def __init__(self, graph: Graph, cache: dict[Path, Module | Violation]) -> None:
        self.graph = graph
        self.layout = graph.layout
        self.cache = cache
        self.done: set[str] = set()
        self.packages: set[str] = set()
        self.path: list[tuple[str, str]] = []  # module names on the way here, with how they are shown

    def refuse(self, module: Module, line: int, rule: int, found: str, mend: str) -> None:
        self.graph.violations.append(Violation(module.shown, line, rule, found, mend))

    def read(self, path: Path, name: str) -> Module | Violation:
        known = self.cache.get(path)
        if known is None:
            text, shown = self.layout.text, self.layout.shown(path)
            known = parse_module(text, shown, name) if text and not name else read_module(path, shown, name)
            self.cache[path] = known
        return known

    def read_entry(self) -> None:
        found = self.read(self.layout.entry, "")
        if isinstance(found, Violation):
            self.graph.violations.append(found)
            return
        self.graph.entry = found
        self.visit(found)

    def visit(self, module: Module) -> None:
        self.path.append((module.name, module.shown))
        for each in followed_imports(module, self.layout):
            self.follow(module, each)
        self.path.pop()
        self.done.add(module.name)
        self.graph.by_name[module.name] = module
        self.graph.modules.append(module)

    def check_packages(self, name: str) -> None:
        """Importing a module runs the `__init__.py` of every package around it; the script has none of them."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            package = ".".join(parts[:length])
            if package in self.packages:
                continue
            self.packages.add(package)
            path = self.layout.base(name).joinpath(*parts[:length], "__init__.py")
            if not path.is_file():
                continue
            found = self.read(path, package)
            if isinstance(found, Violation):
                self.graph.violations.append(found)
            elif any(statement.kind != "doc" for statement in found.statements):
                mend = "leave it empty and import from the modules"
                line = next(statement.first for statement in found.statements if statement.kind != "doc")
                self.refuse(found, line, 1, "code in a package's __init__.py, which the script does not run", mend)

    def follow(self, module: Module, each: Import) -> None:
        if each.module in self.done:
            return
        names = [name for name, _ in self.path]
        if each.module in names:
            circle = [shown for _, shown in self.path[names.index(each.module) :]]
            trail = " -> ".join([*circle, circle[0]])
            found = f"imports run in a circle: {trail}"
            self.refuse(module, each.line, 5, found, "move what both need to a third module")
            return
        path = self.layout.module_path(each.module)
        if path is None:
            self.refuse(module, each.line, 1, f"there is no module {each.module}", "check the name")
            self.done.add(each.module)
            return
        self.check_packages(each.module)
        reached = self.read(path, each.module)
        if isinstance(reached, Violation):
            self.graph.violations.append(reached)
            self.done.add(each.module)
            return
        self.visit(reached)


def followed_imports(module: Module, layout: Layout) -> Iterator[Import]:
    """First-party imports that say which module they mean; those that break rule 1 are followed as far as they can be.

    What stands in the entry's main guard is not packed, so it is not followed.
    """
    for each in module.imports:
        if each.level or not layout.owns(each) or each.place == "the main guard":
            continue
        if each.name and each.name != "*" and layout.module_path(f"{each.module}.{each.name}") is not None:
            continue  # imports a module, not a name: rule 1 reports it
        yield each
