"""The first part of a script: what an entry's `begin` reaches stands above the imports of other packages.

So it may use the standard library only. An entry without a `begin` has no first part.
"""

from __future__ import annotations

from collections.abc import Iterator

from packer.errors import Violation
from packer.flatten.graph import Graph
from packer.flatten.nodes import FunctionNode, takes
from packer.flatten.shake import Shaken, shake
from packer.flatten.source import Import, Module, statement_imports
from packer.image.image import is_stdlib

BEGIN = "begin"
MEND = "the first part of a script has the standard library only: leave this to what main alone reaches"


def has_first_part(graph: Graph) -> bool:
    """Whether the entry defines `begin`."""
    return graph.entry is not None and BEGIN in graph.entry.defined


def script_roots(graph: Graph) -> tuple[str, ...]:
    """The names of the entry that a script starts with."""
    return (BEGIN, "main") if has_first_part(graph) else ("main",)


def first_part(graph: Graph) -> Shaken | None:
    """What `begin` reaches; None for an entry that has none."""
    return shake(graph, (BEGIN,)) if has_first_part(graph) else None


def first_part_violations(graph: Graph, with_spec: bool | None) -> Iterator[Violation]:
    """Rule 7: `begin` is a function that takes what the script gives it, and reaches the standard library only."""
    first = first_part(graph)
    if first is None or graph.entry is None:
        return
    node = graph.entry.defined[BEGIN][-1].node
    if not isinstance(node, FunctionNode):
        mend = "write `def begin(spec: dict, running: bool) -> AbstractContextManager[None]`, or rename it"
        yield Violation(graph.entry.shown, node.lineno, 7, "`begin` is no function", mend)
    elif with_spec is not None:
        given = ["SPEC, running"] if with_spec else ["running"]
        if not takes(node, 1 + with_spec):
            found = f"the script will call `begin({', '.join(given)})`, which begin does not take"
            yield Violation(graph.entry.shown, node.lineno, 7, found, "change its arguments")
    for symbol in first.because:
        module = graph.by_name[symbol[0]]
        for each in outside_imports(module, symbol[1]):
            if not graph.layout.owns(each) and not is_stdlib(each.root):
                found = f"`{each}` is needed by begin ({' -> '.join(name for _, name in first.chain(symbol))})"
                yield Violation(module.shown, each.line, 7, found, MEND)


def outside_imports(module: Module, name: str) -> Iterator[Import]:
    """The imports that a top-level name of a module uses: those at the module's top, and those inside it."""
    for statement in module.defined.get(name, []):
        yield from statement_imports(statement)
        for used in sorted(module.uses(statement)):
            yield from [] if used in module.defined else module.bindings.get(used, [])
