"""What nodes of a syntax tree say: arguments, dotted names, what they bind, and what runs when a statement runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Every argument of a function, in any position."""
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def takes(function: FunctionNode, count: int) -> bool:
    """Whether a function can be called with so many positional arguments and no others."""
    arguments = function.args
    most = len([*arguments.posonlyargs, *arguments.args])
    enough = most - len(arguments.defaults) <= count and None not in arguments.kw_defaults
    return enough and (count <= most or arguments.vararg is not None)


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


def bound_names(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its own scope; `:=` in a comprehension binds in the scope around it."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(name := getattr(node, "name", None), str):  # of a function, class, exception or pattern
        yield name
    if isinstance(node, Comprehension):
        yield from (each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
    elif not isinstance(node, (FunctionNode, ast.ClassDef, ast.Lambda)):
        for inner in ast.iter_child_nodes(node):
            yield from bound_names(inner)


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and all in it that runs when it does: no bodies of functions, no annotations."""
    yield node
    inner: list[ast.AST | None] = [*ast.iter_child_nodes(node)]
    if isinstance(node, (FunctionNode, ast.Lambda)):
        inner = [*getattr(node, "decorator_list", []), *node.args.defaults, *node.args.kw_defaults]
    elif isinstance(node, ast.AnnAssign):
        inner = [node.target, node.value]
    for each in inner:
        if each is not None:
            yield from running_nodes(each)
