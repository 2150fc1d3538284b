"""Which top-level names the entry reaches, and by which chain; all others stay out of the script."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches

from packer.errors import PackError
from packer.flatten.graph import Graph
from packer.flatten.source import Import, Module, Statement

Reach = Callable[["Symbol", "Symbol | None"], None]
Symbol = tuple[str, str]  # (module name, top-level name); the entry's module name is ""


@dataclass
class Shaken:
    """What stays: symbols with the symbol that first named each, and the outside imports that stay with them."""

    graph: Graph
    because: dict[Symbol, Symbol | None] = field(default_factory=dict)
    outside: dict[str, list[Import]] = field(default_factory=dict)  # module name -> imports of other packages in use

    def keeps(self, module: Module, statement: Statement) -> bool:
        """Whether a slice goes into the script."""
        if statement.kind == "doc":
            return any((module.name, name) in self.because for name in module.defined)
        return statement.kind == "code" and any((module.name, name) in self.because for name in statement.names)

    def chain(self, symbol: Symbol) -> list[Symbol]:
        """The symbols from the root to this one, each named by the one before."""
        first = self.because[symbol]
        return [*([] if first is None else self.chain(first)), symbol]

    def kept_names(self, module: Module) -> list[str]:
        return [name for name in module.defined if (module.name, name) in self.because]

    def dropped_names(self, module: Module) -> list[str]:
        return [name for name in module.defined if (module.name, name) not in self.because]


def shake(graph: Graph, roots: tuple[str, ...] = ("main",)) -> Shaken:
    """Follow names from `roots` in the entry, breadth first, so that every chain is a shortest one."""
    shaken = Shaken(graph)
    queue: deque[Symbol] = deque()

    def reach(symbol: Symbol, source: Symbol | None) -> None:
        if symbol not in shaken.because:
            shaken.because[symbol] = source
            queue.append(symbol)

    for root in roots:
        reach(("", root), None)
    while queue:
        symbol = queue.popleft()
        module = graph.by_name[symbol[0]]
        for statement in module.defined.get(symbol[1], []):
            for name in statement.names:
                reach((module.name, name), symbol)
            for name in sorted(module.uses(statement)):
                follow_name(shaken, module, name, symbol, reach)
    return shaken


def follow_name(shaken: Shaken, module: Module, name: str, symbol: Symbol, reach: Reach) -> None:
    """Reach what `name` means in `module`: a name of its own, a first-party import, or another package's."""
    if name in module.defined:
        reach((module.name, name), symbol)
        return
    for each in module.bindings.get(name, []):
        target = shaken.graph.target(each)
        if target is not None and each.name in target.defined:
            reach((target.name, each.name), symbol)
        elif not shaken.graph.layout.owns(each):
            kept = shaken.outside.setdefault(module.name, [])
            if each not in kept:
                kept.append(each)


def explain(shaken: Shaken, name: str) -> str:
    """The chain of names that keeps `name` in the script, or who names it when it was left out.

    Raises PackError for a name that no reached module defines.
    """
    owners = [module for module in shaken.graph.modules if name in module.defined]
    if not owners:
        every = [known for module in shaken.graph.modules for known in module.defined]
        close = get_close_matches(name, every, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PackError(f"no module that the entry reaches defines {name!r}{hint}")
    return "\n".join(explain_symbol(shaken, module, name) for module in owners)


def explain_symbol(shaken: Shaken, module: Module, name: str) -> str:
    """The chain of names that keeps one symbol in."""
    symbol = (module.name, name)
    if symbol not in shaken.because:
        users = sorted(symbol_users(shaken, module, name))
        who = f"only {', '.join(users)} name it, and they are left out too" if users else "nothing names it"
        return f"{place(module, name)} is left out: {who}"
    steps = [place(shaken.graph.by_name[owner], each) for owner, each in shaken.chain(symbol)]
    return "\n".join(f"{'  ' * depth}{'-> ' if depth else ''}{step}" for depth, step in enumerate(steps))


def place(module: Module, name: str) -> str:
    """Where a symbol is defined, for people."""
    return f"{name} ({module.shown}:{module.defined[name][0].first})"


def symbol_users(shaken: Shaken, target: Module, name: str) -> set[str]:
    """Top-level names whose statements name the symbol."""
    users: set[str] = set()
    for module in shaken.graph.modules:
        if module is target:
            local = {name}
        else:
            local = {each.bound for each in module.imports if each.module == target.name and each.name == name}
        for statement in module.statements:
            if statement.kind == "code" and local & module.uses(statement) and name not in statement.names:
                users.update(statement.names)
    return users
