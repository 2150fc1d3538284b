"""Which names a piece of source looks up at module level, by Python's own scoping rules, from the syntax tree alone.

One walk over the tree: every scope collects what it binds and what it reads, and hands what it does not bind itself to
the scope around it when it ends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Uses:
    """Names that one statement takes from the module around it, and names that it defines there."""

    names: set[str] = field(default_factory=set)  # everything, also names that stand only in annotations
    needed: dict[str, int] = field(default_factory=dict)  # looked up when the code runs: name -> first line
    globals: dict[str, int] = field(default_factory=dict)  # declared `global` inside a function: name -> line
    bound: set[str] = field(default_factory=set)  # defined at module level


@dataclass(slots=True)
class Scope:
    """One scope under way."""

    kind: str  # "module", "class", "function" or "comprehension"
    bound: set[str] = field(default_factory=set)
    needed: dict[str, int] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)  # in annotations, or perhaps read
    elsewhere: set[str] = field(default_factory=set)  # declared global or nonlocal


def find_uses(statement: ast.stmt) -> Uses:
    """The module-level names that a top-level statement reads and binds."""
    walker = ScopeWalker()
    walker.visit(statement)
    module = walker.scopes[0]
    uses = walker.uses
    uses.names |= module.noted | set(module.needed)
    uses.needed = module.needed
    uses.bound = module.bound
    return uses


def bound_names(function: FunctionNode) -> set[str]:
    """Names that a function binds in itself, its arguments among them."""
    walker = ScopeWalker()
    walker.scopes.append(Scope("function", {argument.arg for argument in all_arguments(function.args)}))
    walker.visit_all(function.body)
    return walker.scopes[1].bound - walker.scopes[1].elsewhere


class ScopeWalker:
    """Walks a statement with a stack of scopes."""

    def __init__(self) -> None:
        self.uses = Uses()
        self.scopes: list[Scope] = [Scope("module")]
        self.in_annotation = False

    def visit(self, node: ast.AST) -> None:
        handler = HANDLERS.get(node.__class__)
        if handler is not None:
            handler(self, node)
            return
        for value in vars(node).values():
            if value.__class__ is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item)
            elif isinstance(value, ast.AST):
                self.visit(value)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def leave(self) -> None:
        """End the innermost scope: what it did not bind is looked up in the next scope outside that is no class."""
        inner = self.scopes.pop()
        bound = inner.bound - inner.elsewhere
        depth = len(self.scopes) - 1
        while self.scopes[depth].kind == "class":
            depth -= 1
        outer = self.scopes[depth]
        for name, line in inner.needed.items():
            if name not in bound:
                outer.needed.setdefault(name, line)
            elif inner.kind == "class":
                outer.noted.add(name)  # `x = x` in a class body reads the outer x first
        outer.noted |= inner.noted - bound

    def bind(self, name: str) -> None:
        self.scopes[-1].bound.add(name)

    def visit_annotation(self, node: ast.expr | None) -> None:
        """An annotation: not evaluated under the future import, but its names must be there for who asks."""
        if node is not None:
            outer, self.in_annotation = self.in_annotation, True
            self.visit(node)
            self.in_annotation = outer

    def visit_name(self, node: ast.Name) -> None:
        if node.ctx.__class__ is not ast.Load:
            self.scopes[-1].bound.add(node.id)
        elif self.in_annotation:
            self.scopes[-1].noted.add(node.id)
        else:
            self.scopes[-1].needed.setdefault(node.id, node.lineno)

    def visit_attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)

    def visit_nothing(self, node: ast.AST) -> None:
        """Operators and contexts hold no names."""

    def visit_constant(self, node: ast.Constant) -> None:
        if self.in_annotation and isinstance(node.value, str):
            self.visit_text_annotation(node.value)

    def visit_arguments(self, arguments: ast.arguments) -> set[str]:
        """Defaults and annotations belong to the scope outside; returns the arguments' names."""
        self.visit_all([*arguments.defaults, *arguments.kw_defaults])
        every = all_arguments(arguments)
        for argument in every:
            self.visit_annotation(argument.annotation)
        return {argument.arg for argument in every}

    def visit_function(self, node: FunctionNode) -> None:
        self.bind(node.name)
        self.visit_all(node.decorator_list)
        names = self.visit_arguments(node.args)
        self.visit_annotation(node.returns)
        self.scopes.append(Scope("function", names))
        self.visit_all(node.body)
        self.leave()

    def visit_lambda(self, node: ast.Lambda) -> None:
        self.scopes.append(Scope("function", self.visit_arguments(node.args)))
        self.visit(node.body)
        self.leave()

    def visit_class(self, node: ast.ClassDef) -> None:
        self.bind(node.name)
        self.visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self.scopes.append(Scope("class"))
        self.visit_all(node.body)
        self.leave()

    def visit_comprehension(self, node: Comprehension) -> None:
        first, *rest = node.generators
        self.visit(first.iter)
        self.scopes.append(Scope("comprehension"))
        self.visit_all([first.target, *first.ifs])
        for generator in rest:
            self.visit_all([generator.iter, generator.target, *generator.ifs])
        self.visit_all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.leave()

    def visit_walrus(self, node: ast.NamedExpr) -> None:
        """`:=` in a comprehension binds in the scope around it."""
        self.visit(node.value)
        depth = len(self.scopes) - 1
        while self.scopes[depth].kind == "comprehension":
            depth -= 1
        self.scopes[depth].bound.add(node.target.id)

    def visit_annotated(self, node: ast.AnnAssign) -> None:
        self.visit_annotation(node.annotation)
        self.visit_all([node.target, node.value])

    def visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        plain = isinstance(node, ast.Import)
        for alias in node.names:
            self.bind(alias.asname or (alias.name.partition(".")[0] if plain else alias.name))

    def visit_handler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bind(node.name)
        self.visit_all([node.type, *node.body])

    def visit_capture(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.bind(node.name)
        if isinstance(node, ast.MatchAs) and node.pattern is not None:
            self.visit(node.pattern)

    def visit_mapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.bind(node.rest)
        self.visit_all([*node.keys, *node.patterns])

    def visit_global(self, node: ast.Global) -> None:
        for name in node.names:
            self.uses.globals.setdefault(name, node.lineno)
            self.uses.names.add(name)
        self.scopes[-1].elsewhere.update(node.names)

    def visit_nonlocal(self, node: ast.Nonlocal) -> None:
        self.scopes[-1].elsewhere.update(node.names)

    def visit_subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        name = last_name(node.value) if self.in_annotation else ""
        if name == "Literal":
            return
        if name == "Annotated" and isinstance(node.slice, ast.Tuple):
            self.visit(node.slice.elts[0])
            self.in_annotation = False
            self.visit_all(node.slice.elts[1:])
            self.in_annotation = True
            return
        self.visit(node.slice)

    def visit_call(self, node: ast.Call) -> None:
        self.visit(node.func)
        called = last_name(node.func)
        typed = {"cast": node.args[:1], "TypeVar": node.args[1:], "ForwardRef": node.args[:1]}.get(called, [])
        for argument in typed:
            self.visit_annotation(argument)
        self.visit_all(node.args)
        for keyword in node.keywords:
            if called == "TypeVar" and keyword.arg == "bound":
                self.visit_annotation(keyword.value)
            self.visit(keyword.value)

    def visit_text_annotation(self, text: str) -> None:
        """An annotation inside quotes; text that is no expression (as in Annotated metadata) names nothing."""
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        self.visit(tree.body)


HANDLERS: dict[type, Callable[[ScopeWalker, Any], None]] = {
    ast.Name: ScopeWalker.visit_name,
    ast.Attribute: ScopeWalker.visit_attribute,
    ast.Constant: ScopeWalker.visit_constant,
    ast.Call: ScopeWalker.visit_call,
    ast.Subscript: ScopeWalker.visit_subscript,
    ast.FunctionDef: ScopeWalker.visit_function,
    ast.AsyncFunctionDef: ScopeWalker.visit_function,
    ast.Lambda: ScopeWalker.visit_lambda,
    ast.ClassDef: ScopeWalker.visit_class,
    ast.AnnAssign: ScopeWalker.visit_annotated,
    ast.NamedExpr: ScopeWalker.visit_walrus,
    ast.Import: ScopeWalker.visit_import,
    ast.ImportFrom: ScopeWalker.visit_import,
    ast.ExceptHandler: ScopeWalker.visit_handler,
    ast.MatchAs: ScopeWalker.visit_capture,
    ast.MatchStar: ScopeWalker.visit_capture,
    ast.MatchMapping: ScopeWalker.visit_mapping,
    ast.Global: ScopeWalker.visit_global,
    ast.Nonlocal: ScopeWalker.visit_nonlocal,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), ScopeWalker.visit_comprehension),
    **dict.fromkeys([ast.Pass, *ast.operator.__subclasses__(), *ast.cmpop.__subclasses__()], ScopeWalker.visit_nothing),
    **dict.fromkeys([*ast.unaryop.__subclasses__(), *ast.boolop.__subclasses__()], ScopeWalker.visit_nothing),
}


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


def walk_nodes(roots: Iterable[ast.AST]) -> dict[type, list[ast.AST]]:
    """All nodes below and including the roots, by their class, each list in the order of the source's nesting."""
    found: dict[type, list[ast.AST]] = {}
    stack = list(roots)
    for node in stack:
        found.setdefault(node.__class__, []).append(node)
        for value in vars(node).values():
            if value.__class__ is list:
                stack += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                stack.append(value)
    return found
