"""Which names a piece of source looks up at module level, by Python's own scoping rules, from the syntax tree alone.

One walk over the tree: every scope collects what it binds and what it reads, and hands what it does not bind itself to
the scope around it when it ends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from packer.flatten.nodes import CHILDREN, FunctionNode, Uses, all_arguments, last_name

Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


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
    uses.names.update(module.noted, module.needed)
    uses.needed = module.needed
    uses.bound = module.bound
    return uses


def bound_names(function: FunctionNode) -> set[str]:
    """Names that a function binds in itself, its arguments among them."""
    walker = ScopeWalker()
    walker.enter(Scope("function", {argument.arg for argument in all_arguments(function.args)}))
    walker.visit_all(function.body)
    return walker.scopes[1].bound - walker.scopes[1].elsewhere


class ScopeWalker:
    """Walks a statement with a stack of scopes. `deep` counts the functions around: what is in one runs later."""

    def __init__(self) -> None:
        self.uses = Uses()
        self.words = self.uses.words
        self.scopes: list[Scope] = [Scope("module")]
        self.scope = self.scopes[0]
        self.in_annotation = False
        self.deep = 0

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                HANDLERS[node.__class__](self, node)

    def visit(self, node: ast.AST) -> None:
        HANDLERS[node.__class__](self, node)

    def enter(self, scope: Scope) -> None:
        self.scopes.append(scope)
        self.scope = scope

    def leave(self) -> None:
        """End the innermost scope: what it did not bind is looked up in the next scope outside that is no class."""
        inner = self.scopes.pop()
        self.scope = self.scopes[-1]
        bound = inner.bound - inner.elsewhere
        depth = len(self.scopes) - 1
        while self.scopes[depth].kind == "class":
            depth -= 1
        outer = self.scopes[depth]
        needed = outer.needed
        for name, line in inner.needed.items():
            if name not in bound:
                if name not in needed:
                    needed[name] = line
            elif inner.kind == "class":
                outer.noted.add(name)  # `x = x` in a class body reads the outer x first
        if inner.noted:
            outer.noted |= inner.noted - bound

    def visit_annotation(self, node: ast.expr | None) -> None:
        """An annotation: not evaluated under the future import, but its names must be there for who asks."""
        if node is not None:
            outer, self.in_annotation = self.in_annotation, True
            HANDLERS[node.__class__](self, node)
            self.in_annotation = outer

    def visit_name(self, node: ast.Name) -> None:
        name, scope = node.id, self.scope
        if node.ctx.__class__ is not LOAD:
            scope.bound.add(name)
        elif self.in_annotation:
            scope.noted.add(name)
        else:
            if name not in scope.needed:
                scope.needed[name] = node.lineno
            if not self.deep:
                self.uses.reads.append(node)

    def visit_attribute(self, node: ast.Attribute) -> None:
        self.words.add(node.attr)
        if not self.deep and not self.in_annotation:
            self.uses.reads.append(node)
        value = node.value
        HANDLERS[value.__class__](self, value)

    def visit_value(self, node: Any) -> None:
        """A node whose only child is its `value`."""
        value = node.value
        if value is not None:
            HANDLERS[value.__class__](self, value)

    def visit_nothing(self, node: ast.AST) -> None:
        """Operators and contexts hold no names."""

    def visit_constant(self, node: ast.Constant) -> None:
        if self.in_annotation and isinstance(node.value, str):
            self.visit_text_annotation(node.value)

    def visit_assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            HANDLERS[target.__class__](self, target)
        HANDLERS[node.value.__class__](self, node.value)

    def visit_if(self, node: ast.If | ast.While) -> None:
        HANDLERS[node.test.__class__](self, node.test)
        for inner in node.body:
            HANDLERS[inner.__class__](self, inner)
        for inner in node.orelse:
            HANDLERS[inner.__class__](self, inner)

    def visit_compare(self, node: ast.Compare) -> None:
        HANDLERS[node.left.__class__](self, node.left)
        for inner in node.comparators:
            HANDLERS[inner.__class__](self, inner)

    def visit_pair(self, node: ast.BinOp) -> None:
        HANDLERS[node.left.__class__](self, node.left)
        HANDLERS[node.right.__class__](self, node.right)

    def visit_elements(self, node: ast.Tuple | ast.List | ast.Set) -> None:
        for inner in node.elts:
            HANDLERS[inner.__class__](self, inner)

    def visit_arguments(self, arguments: ast.arguments) -> set[str]:
        """Defaults and annotations belong to the scope outside; returns the arguments' names."""
        self.visit_all(arguments.defaults)
        self.visit_all(arguments.kw_defaults)
        names = set()
        for argument in all_arguments(arguments):
            names.add(argument.arg)
            if argument.annotation is not None:
                self.visit_annotation(argument.annotation)
        return names

    def visit_decorators(self, node: FunctionNode | ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call):
                self.uses.decorators.append(decorator)
            HANDLERS[decorator.__class__](self, decorator)

    def visit_function(self, node: FunctionNode) -> None:
        self.scope.bound.add(node.name)
        self.visit_decorators(node)
        names = self.visit_arguments(node.args)
        self.visit_annotation(node.returns)
        self.enter(Scope("function", names))
        self.deep += 1
        for inner in node.body:
            HANDLERS[inner.__class__](self, inner)
        self.deep -= 1
        self.leave()

    def visit_lambda(self, node: ast.Lambda) -> None:
        self.enter(Scope("function", self.visit_arguments(node.args)))
        self.deep += 1
        self.visit(node.body)
        self.deep -= 1
        self.leave()

    def visit_class(self, node: ast.ClassDef) -> None:
        self.scope.bound.add(node.name)
        self.visit_decorators(node)
        self.visit_all([*node.bases, *node.keywords])
        self.enter(Scope("class"))
        self.visit_all(node.body)
        self.leave()

    def visit_comprehension(self, node: Comprehension) -> None:
        first, *rest = node.generators
        self.visit(first.iter)
        self.enter(Scope("comprehension"))
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
        self.uses.imports = True
        plain = isinstance(node, ast.Import)
        for alias in node.names:
            self.scope.bound.add(alias.asname or (alias.name.partition(".")[0] if plain else alias.name))

    def visit_handler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.scope.bound.add(node.name)
        self.visit_all([node.type, *node.body])

    def visit_capture(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.scope.bound.add(node.name)
        if isinstance(node, ast.MatchAs) and node.pattern is not None:
            self.visit(node.pattern)

    def visit_mapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.scope.bound.add(node.rest)
        self.visit_all([*node.keys, *node.patterns])

    def visit_global(self, node: ast.Global) -> None:
        for name in node.names:
            self.uses.globals.setdefault(name, node.lineno)
            self.uses.names.add(name)
        self.scope.elsewhere.update(node.names)

    def visit_nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.elsewhere.update(node.names)

    def visit_subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if self.in_annotation:
            name = last_name(node.value)
            if name == "Literal":
                return
            if name == "Annotated" and isinstance(node.slice, ast.Tuple):
                self.visit(node.slice.elts[0])
                self.in_annotation = False
                self.deep += 1  # names to look up, but not when the statement runs
                self.visit_all(node.slice.elts[1:])
                self.deep -= 1
                self.in_annotation = True
                return
        self.visit(node.slice)

    def visit_call(self, node: ast.Call) -> None:
        if not self.deep and not self.in_annotation:
            self.uses.calls.append(node)
        function = node.func
        HANDLERS[function.__class__](self, function)
        called = last_name(function)
        if called in TYPED_CALLS:
            typed = node.args[1:] if called == "TypeVar" else node.args[:1]
            for argument in typed:
                self.visit_annotation(argument)
        for argument in node.args:
            HANDLERS[argument.__class__](self, argument)
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg is not None:
                self.words.add(keyword.arg)
                if called == "TypeVar" and keyword.arg == "bound":
                    self.visit_annotation(value)
            HANDLERS[value.__class__](self, value)

    def visit_text_annotation(self, text: str) -> None:
        """An annotation inside quotes; text that is no expression (as in Annotated metadata) names nothing."""
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        self.visit(tree.body)

    def visit_fields(self, node: ast.AST) -> None:
        """Any other node: its children in their order."""
        for name in CHILDREN[node.__class__]:
            value = getattr(node, name, None)
            if value.__class__ is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        HANDLERS[item.__class__](self, item)
            elif isinstance(value, ast.AST):
                HANDLERS[value.__class__](self, value)


class HandlerTable(dict[type, Callable[[ScopeWalker, Any], None]]):
    """Every class of node has a handler."""

    def __missing__(self, kind: type) -> Callable[[ScopeWalker, Any], None]:
        self[kind] = ScopeWalker.visit_fields
        return self[kind]


LOAD = ast.Load
TYPED_CALLS = frozenset({"cast", "TypeVar", "ForwardRef"})
KNOWN_HANDLERS: dict[type, Callable[[ScopeWalker, Any], None]] = {
    ast.Name: ScopeWalker.visit_name,
    ast.Attribute: ScopeWalker.visit_attribute,
    ast.Constant: ScopeWalker.visit_constant,
    ast.Call: ScopeWalker.visit_call,
    ast.Subscript: ScopeWalker.visit_subscript,
    ast.Assign: ScopeWalker.visit_assign,
    ast.Compare: ScopeWalker.visit_compare,
    ast.BinOp: ScopeWalker.visit_pair,
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
    **dict.fromkeys((ast.If, ast.While), ScopeWalker.visit_if),
    **dict.fromkeys((ast.Tuple, ast.List, ast.Set), ScopeWalker.visit_elements),
    **dict.fromkeys((ast.Expr, ast.Return, ast.Starred, ast.Await, ast.Yield), ScopeWalker.visit_value),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), ScopeWalker.visit_comprehension),
    **dict.fromkeys((ast.Pass, ast.Break, ast.Continue), ScopeWalker.visit_nothing),
}
HANDLERS = HandlerTable(KNOWN_HANDLERS)
