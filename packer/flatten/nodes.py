"""What a syntax tree holds: the names that a statement uses, the children of a node, arguments, dotted names."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Uses:
    """Names that one statement takes from the module around it, and names that it defines there.

    The last five are what the rules ask for; they are noted here because here every node is seen anyway.
    """

    names: set[str] = field(default_factory=set)  # everything, also names that stand only in annotations
    needed: dict[str, int] = field(default_factory=dict)  # looked up when the code runs: name -> first line
    globals: dict[str, int] = field(default_factory=dict)  # declared `global` inside a function: name -> line
    bound: set[str] = field(default_factory=set)  # defined at module level
    words: set[str] = field(default_factory=set)  # attributes and keywords of calls, wherever they stand
    calls: list[ast.Call] = field(default_factory=list)  # made when the statement itself runs
    reads: list[ast.Name | ast.Attribute] = field(default_factory=list)  # names read when the statement itself runs
    decorators: list[ast.Call] = field(default_factory=list)  # those of the calls that decorate something
    imports: bool = False  # whether an import stands inside


class ChildTable(dict[type, tuple[str, ...]]):
    """Which fields of a class of node may hold names."""

    def __missing__(self, kind: type) -> tuple[str, ...]:
        fields: tuple[str, ...] = getattr(kind, "_fields", ())
        self[kind] = tuple(name for name in fields if name not in NAMELESS_FIELDS)
        return self[kind]


NAMELESS_FIELDS = frozenset({"ctx", "op", "ops", "type_comment", "conversion", "lineno", "simple", "is_async", "kind"})
CHILDREN = ChildTable()


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Every argument of a function, in any position."""
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def last_name(node: ast.expr) -> str:
    """`torch.no_grad` -> `no_grad`; empty for what is no dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted_name(node: ast.expr) -> str:
    """`torch.nn.Module` -> the same text; empty for what is no dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def walk_nodes(roots: Iterable[ast.AST]) -> Iterator[ast.Name | ast.Attribute | ast.Call]:
    """All names, attributes and calls below and including the roots."""
    stack = list(roots)
    for node in stack:
        if isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
            yield node
        for name in CHILDREN[node.__class__]:
            value = getattr(node, name, None)
            if value.__class__ is list:
                stack += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                stack.append(value)
