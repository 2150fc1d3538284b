"""Which names a statement looks up in its module. Scopes are Python's own affair: its `symtable` knows them."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator

from packer.flatten.nodes import FunctionNode, all_arguments, bound_names, last_name

TYPED_CALLS = {"cast": slice(0, 1), "ForwardRef": slice(0, 1), "TypeVar": slice(1, None)}  # arguments that are types


def looked_up(node: ast.stmt, text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names that a top-level statement takes from its module or the builtins, those of annotations too; and names
    that it may take from there: a class looks up what it binds itself, as in `x = x`.

    text: the statement's own lines. Raises SyntaxError for scopes that Python refuses.
    """
    try:
        # In a function, so that no name that the statement binds itself is one that it looks up.
        module = symtable.symtable("def _():\n " + text.replace("\n", "\n "), "", "exec")
    except SyntaxError:  # such as a form feed in the margin
        module = symtable.symtable("def _():\n " + ast.unparse(node).replace("\n", "\n "), "", "exec")
    needed: set[str] = set()
    perhaps: set[str] = set()
    tables = list(module.get_children())
    for table in tables:
        tables += table.get_children()
        if isinstance(table, symtable.Function):
            needed.update(table.get_globals())
            continue
        for each in table.get_symbols():
            if each.is_referenced() and not each.is_free():
                (needed if each.is_global() else perhaps).add(each.get_name())
    if perhaps:  # in a class, Python 3.12 and later list the variables of comprehensions too
        classes = (each for each in ast.walk(node) if isinstance(each, ast.ClassDef))
        perhaps &= {name for each in classes for inner in each.body for name in bound_names(inner)}
    return frozenset(needed), frozenset(perhaps)


def quoted_names(node: ast.stmt) -> Iterator[str]:
    """Names in annotations and types that are text."""
    for each in ast.walk(node):
        types: list[ast.expr | None] = []
        if isinstance(each, FunctionNode):
            types = [each.returns, *(argument.annotation for argument in all_arguments(each.args))]
        elif isinstance(each, ast.AnnAssign):
            types = [each.annotation]
        elif isinstance(each, ast.Call) and (chosen := TYPED_CALLS.get(last_name(each.func))):
            types = [*each.args[chosen], *(keyword.value for keyword in each.keywords if keyword.arg == "bound")]
        for annotation in types:
            if annotation is not None:
                yield from names_in_text(annotation)


def names_in_text(node: ast.AST) -> Iterator[str]:
    """Names in the texts of an annotation; text that is no expression, and what a Literal holds, names nothing."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            tree = ast.parse(node.value.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        yield from (each.id for each in ast.walk(tree) if isinstance(each, ast.Name))
    elif isinstance(node, ast.Subscript) and last_name(node.value) in ("Literal", "Annotated"):
        if isinstance(node.slice, ast.Tuple) and last_name(node.value) == "Annotated":
            yield from names_in_text(node.slice.elts[0])
    else:
        for inner in ast.iter_child_nodes(node):
            yield from names_in_text(inner)
