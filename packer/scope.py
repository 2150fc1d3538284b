"""Which names a piece of source looks up at module level, by Python's own scoping rules, from the syntax tree alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Uses:
    """Names that one statement takes from the module around it."""

    names: set[str] = field(default_factory=set)  # everything, also names that stand only in annotations
    needed: dict[str, int] = field(default_factory=dict)  # looked up when the code runs: name -> first line
    globals: dict[str, int] = field(default_factory=dict)  # declared `global` inside a function: name -> line


@dataclass
class Scope:
    kind: str  # "module", "class", "function"
    bound: set[str]


def find_uses(statement: ast.stmt) -> Uses:
    """The module-level names that a top-level statement looks up, its own bound names included where it reads them."""
    finder = UseFinder()
    finder.visit(statement)
    return finder.uses


def bound_names(body: Iterable[ast.AST]) -> set[str]:
    """Names that the statements bind in their own scope (not inside nested functions, classes or comprehensions)."""
    binder = Binder()
    for node in body:
        binder.visit(node)
    return binder.names - binder.elsewhere


class Binder(ast.NodeVisitor):
    """Collects what one scope binds; a walrus in a comprehension binds in the scope around it."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.elsewhere: set[str] = set()

    def visit_function(self, node: FunctionNode | ast.ClassDef) -> None:
        self.names.add(node.name)
        outside: list[ast.AST | None] = [*node.decorator_list]
        if isinstance(node, ast.ClassDef):
            outside += [*node.bases, *node.keywords]
        else:
            outside += [*node.args.defaults, *node.args.kw_defaults]
        for inner in outside:
            if inner is not None:
                self.visit(inner)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)

    def visit_comprehension_node(self, node: ast.AST) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr) and isinstance(inner.target, ast.Name):
                self.names.add(inner.target.id)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_node

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self.names.add(node.id)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names.update(alias.asname or alias.name for alias in node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.names.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.names.add(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.names.add(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.elsewhere.update(node.names)

    visit_Nonlocal = visit_Global


class UseFinder(ast.NodeVisitor):
    """Walks one top-level statement with a stack of scopes and notes every name that no scope inside it binds."""

    def __init__(self) -> None:
        self.uses = Uses()
        self.scopes: list[Scope] = [Scope("module", set())]
        self.in_annotation = False

    def look_up(self, name: str, line: int) -> None:
        inner = self.scopes[-1]
        for scope in reversed(self.scopes):
            if scope.kind == "class":
                if scope is inner and name in scope.bound:
                    self.uses.names.add(name)  # `x = x` in a class body reads the module's x first
                    return
            elif name in scope.bound:
                return
        self.uses.names.add(name)
        if not self.in_annotation:
            self.uses.needed.setdefault(name, line)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_inside(self, kind: str, bound: set[str], nodes: Iterable[ast.AST | None]) -> None:
        self.scopes.append(Scope(kind, bound))
        self.visit_all(nodes)
        self.scopes.pop()

    def visit_annotation(self, node: ast.expr | None) -> None:
        """An annotation: not evaluated under the future import, but its names must be there for who asks."""
        if node is None:
            return
        outer, self.in_annotation = self.in_annotation, True
        self.visit(node)
        self.in_annotation = outer

    def visit_arguments_outside(self, arguments: ast.arguments) -> None:
        self.visit_all([*arguments.defaults, *arguments.kw_defaults])
        for argument in all_arguments(arguments):
            self.visit_annotation(argument.annotation)

    def visit_function(self, node: FunctionNode) -> None:
        self.visit_all(node.decorator_list)
        self.visit_arguments_outside(node.args)
        self.visit_annotation(node.returns)
        bound = bound_names(node.body) | {argument.arg for argument in all_arguments(node.args)}
        self.visit_inside("function", bound, node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_arguments_outside(node.args)
        bound = {argument.arg for argument in all_arguments(node.args)} | bound_names([node.body])
        self.visit_inside("function", bound, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self.visit_inside("class", bound_names(node.body), node.body)

    def visit_comprehension_node(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        first, *rest = node.generators
        self.visit(first.iter)
        bound = bound_names(generator.target for generator in node.generators)
        inner: list[ast.AST] = [first.target, *first.ifs]
        for generator in rest:
            inner += [generator.iter, generator.target, *generator.ifs]
        inner += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.visit_inside("function", bound, inner)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit_annotation(node.annotation)
        self.visit_all([node.target, node.value])

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.look_up(node.id, node.lineno)

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self.uses.globals.setdefault(name, node.lineno)
            self.uses.names.add(name)

    def visit_Constant(self, node: ast.Constant) -> None:
        if self.in_annotation and isinstance(node.value, str):
            self.visit_text_annotation(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if self.in_annotation and last_name(node.value) == "Literal":
            return
        if self.in_annotation and last_name(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            self.visit(node.slice.elts[0])
            self.in_annotation = False
            self.visit_all(node.slice.elts[1:])
            self.in_annotation = True
            return
        self.visit(node.slice)

    def visit_Call(self, node: ast.Call) -> None:
        self.visit(node.func)
        called = last_name(node.func)
        typed = {"cast": node.args[:1], "TypeVar": node.args[1:], "ForwardRef": node.args[:1]}.get(called, [])
        for argument in node.args:
            if argument in typed:
                self.visit_annotation(argument)
            self.visit(argument)
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


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def last_name(node: ast.expr) -> str:
    """`torch.no_grad` -> `no_grad`; empty for what is no dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted_name(node: ast.expr) -> str:
    """`torch.nn.Module` -> the same text; empty for what is no dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
