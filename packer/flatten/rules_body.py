"""Rules on what stands in a module: nothing happens at import (4), no names from text or files (5), no pickle (6)."""

from __future__ import annotations

import ast
import io
import re
import sys
from functools import cached_property

from packer.errors import Violation
from packer.flatten.graph import Graph
from packer.flatten.nodes import FunctionNode, all_arguments, bound_names, dotted_name, last_name, running_nodes
from packer.flatten.source import Module, Statement, place_name

# Calls that do something, or whose answer differs from run to run. A trailing dot: all below it.
IMPORT_CALLS = (
    "print", "input", "open", "breakpoint", "os.getenv", "os.putenv", "os.getcwd", "os.getpid", "os.listdir",
    "os.makedirs", "os.mkdir", "os.chdir", "os.cpu_count", "sys.setrecursionlimit", "logging.basicConfig",
    "logging.disable", "logging.config.", "warnings.filterwarnings", "warnings.simplefilter", "random.seed",
    "random.random", "random.randint", "random.choice", "random.shuffle", "numpy.random.", "numpy.seterr",
    "numpy.set_printoptions", "torch.manual_seed", "torch.cuda.", "torch.backends.", "torch.set_default_dtype",
    "torch.set_num_threads", "torch.hub.", "cv2.setNumThreads", "time.time", "time.monotonic", "time.perf_counter",
    "time.sleep", "datetime.datetime.now", "datetime.date.today", "pathlib.Path.cwd", "pathlib.Path.home",
    "subprocess.", "socket.", "tempfile.", "uuid.uuid1", "uuid.uuid4", "secrets.", "signal.", "atexit.",
    "threading.Thread", "multiprocessing.set_start_method", "pandas.set_option", "pandas.read_csv", "json.load",
    "urllib.", "requests.",
)
IMPORT_READS = ("os.environ", "os.environb", "sys.argv", "sys.path", "sys.stdin")
DYNAMIC_NAMES = {
    "__file__": "take paths as arguments of main",
    "__name__": "write the name as text",
    "__package__": "write the name as text",
    "__spec__": "write the name as text",
    "__path__": "take paths as arguments of main",
    "__loader__": "embed the data as a constant",
    "__doc__": "write the text as a constant",
    "__builtins__": "name what you need",
    "globals": "use a dict literal as registry",
    "exec": "write the code out",
    "eval": "write the code out",
    "compile": "write the code out",
    "__import__": "import at the top of the module",
}
DYNAMIC_CALLS = {
    "importlib.import_module": "use a dict literal as registry",
    "sys.modules": "use a dict literal as registry",
    "inspect.": "the script has other modules and files than the source",
    "sys._getframe": "pass the value as an argument",
    "operator.attrgetter": "write a lambda with the attribute",
}
WATCHED_ROOTS = frozenset(name.partition(".")[0] for name in DYNAMIC_CALLS) | {"pkgutil"}
DATA_CALLS = ("importlib.resources.files", "importlib.resources.read_text", "importlib.resources.read_binary",
              "importlib.resources.path", "importlib.resources.open_text", "importlib.resources.open_binary",
              "pkgutil.get_data")
DYNAMIC_ATTRIBUTES = {
    "__subclasses__": "use a dict literal as registry",
    "__module__": "it is another one in the script",
    "__globals__": "use a dict literal as registry",
}
PICKLE_MODULES = frozenset({"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"})
PICKLE_CALLS = ("torch.load", "torch.save", "torch.jit.load", "pandas.read_pickle", "numpy.load")
PICKLE_MEND = "use safetensors for arrays, booster text or JSON for the rest"
# A statement that has none of these words, and no name of a watched import, cannot break rules 5 and 6.
NOTEWORTHY = {*DYNAMIC_NAMES, *DYNAMIC_ATTRIBUTES, "getattr", "setattr", "delattr", "vars", "to_pickle", "read_pickle",
              "allow_pickle", "load", "save", "_getframe", "modules", "import_module", "attrgetter"}
READ_WORDS = frozenset(name.rpartition(".")[2] for name in IMPORT_READS)
MUTATORS = frozenset({"append", "add", "update", "setdefault", "insert", "extend", "register", "__setitem__"})


def body_violations(module: Module, graph: Graph) -> list[Violation]:
    """Violations of rules 4, 5 and 6 in one module, and of rule 0 where newer grammar slipped through the parser."""
    checker = BodyChecker(module, graph)
    checker.check()
    return checker.found


class BodyChecker:
    """Holds one module body against rules 0, 4, 5 and 6."""

    def __init__(self, module: Module, graph: Graph) -> None:
        self.module = module
        self.graph = graph
        self.found: list[Violation] = []

    def refuse(self, node: ast.AST, rule: int, found: str, mend: str) -> None:
        self.found.append(Violation(self.module.shown, getattr(node, "lineno", 1), rule, found, mend))

    def check(self) -> None:
        last = 0
        checked: list[Statement] = []
        for statement in self.module.statements:
            if statement.first <= last:
                self.refuse(statement.node, 4, "two statements on one line", "put each on a line of its own")
            last = statement.node.end_lineno or statement.first
            if statement.kind == "guard" and self.module is self.graph.entry:
                continue
            checked.append(statement)
            if statement.kind in ("code", "guard"):
                self.check_statement(statement)
                self.check_import_time(statement)
        for each in self.module.imports:
            if each.root in PICKLE_MODULES and not each.level and each.place != "the main guard":
                self.found.append(
                    Violation(self.module.shown, each.line, 6, f"import of {each.module}", PICKLE_MEND)
                )
        if sys.version_info >= (3, 12):
            self.check_f_strings()
        there = [word for word in self.watched | NOTEWORTHY if word in self.module.text]
        noteworthy = re.compile(rf"\b({'|'.join(there)})\b")
        for statement in checked:
            if there and statement.kind != "import" and noteworthy.search(statement.text):
                self.check_nodes(statement.node)

    @cached_property
    def watched(self) -> frozenset[str]:
        """Names that stand for something that is forbidden, or of which a part is, such as `sys` and its `modules`."""
        return frozenset(each.bound for each in self.module.plain_imports
                         if each.root in WATCHED_ROOTS or each.meaning in PICKLE_CALLS)

    def check_statement(self, statement: Statement) -> None:
        """Rule 4: a module body holds imports, constants, functions and classes."""
        node = statement.node
        if isinstance(node, (FunctionNode, ast.ClassDef)):
            self.check_decorators(node)
            return
        targets: list[ast.expr] = []
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if targets and all(is_plain_target(target) for target in targets):
            return
        found, mend = describe_statement(node)
        self.refuse(node, 4, f"{found} in the module body", mend)

    def resolve(self, node: ast.expr) -> str:
        """A dotted name with its first part replaced by what was imported: `np.load` -> `numpy.load`."""
        dotted = dotted_name(node)
        root, dot, rest = dotted.partition(".")
        imported = self.module.top_imports.get(root)
        if imported is None or self.graph.layout.owns(imported):
            return dotted
        return imported.meaning + dot + rest

    def first_party(self, name: str) -> ast.stmt | None:
        """The function or class of the package that a top-level name means in this module."""
        module = self.module
        imported = self.module.top_imports.get(name)
        if imported is not None:
            target = self.graph.target(imported)
            if target is None:
                return None
            module = target
        statements = module.defined.get(name, [])
        return statements[-1].node if statements else None

    def check_import_time(self, statement: Statement) -> None:
        """Rule 4: nothing acts while the module is imported, and no function of the project is called."""
        nodes = list(running_nodes(statement.node))
        decorators = [each for node in nodes for each in getattr(node, "decorator_list", [])]
        for node in nodes:
            if isinstance(node, (ast.Name, ast.Attribute)):
                if isinstance(node.ctx, ast.Load) and last_name(node) in self.read_words:
                    self.refuse_at_import(node, self.resolve(node), IMPORT_READS)
            elif isinstance(node, ast.Call):
                self.refuse_at_import(node, self.resolve(node.func), IMPORT_CALLS)
                if isinstance(node.func, ast.Name) and node not in decorators:
                    called = self.first_party(node.func.id)
                    if isinstance(called, FunctionNode):
                        mend = "call it in main and pass the value on"
                        self.refuse(node, 4, f"{node.func.id}() is called at import", mend)

    def refuse_at_import(self, node: ast.AST, name: str, patterns: tuple[str, ...]) -> None:
        if matches(name, patterns):
            self.refuse(node, 4, f"{name} at import", "do it in a function that main calls")

    @cached_property
    def read_words(self) -> frozenset[str]:
        """How what must not be read at import may be called here, by its last name."""
        return READ_WORDS | {each.bound for each in self.module.plain_imports if each.meaning in IMPORT_READS}

    def check_decorators(self, node: FunctionNode | ast.ClassDef) -> None:
        """Rule 4: no decorator that registers, for what is registered is not named and would be left out."""
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = dotted_name(target)
            root = name.partition(".")[0]
            owner = self.first_party(root)
            registers = "register" in last_name(target).lower() or ("." in name and owner is not None)
            if registers or (isinstance(owner, FunctionNode) and self.mutates(owner)):
                self.refuse(decorator, 4, f"decorator @{name} registers", "list it in a dict literal")
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init_subclass__":
                    self.refuse(inner, 4, "__init_subclass__ acts at import", "list the classes in a dict literal")
            for keyword in node.keywords:
                if keyword.arg == "metaclass" and self.first_party(last_name(keyword.value)) is not None:
                    self.refuse(keyword.value, 4, "a metaclass of its own acts at import", "use a plain class")

    def mutates(self, function: FunctionNode) -> bool:
        """Whether a function changes a constant of some module: stores into it, or calls a mutating method of it."""
        inner = {argument.arg for argument in all_arguments(function.args)}
        inner.update(name for statement in function.body for name in bound_names(statement))
        for node in ast.walk(function):
            target: ast.expr | None = None
            if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                target = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                target = node.func.value
            elif isinstance(node, ast.Global):
                return True
            if isinstance(target, ast.Name) and target.id not in inner and target.id in self.every_constant():
                return True
        return False

    def every_constant(self) -> set[str]:
        return {
            name for module in self.graph.modules for name, statements in module.defined.items()
            if isinstance(statements[0].node, (ast.Assign, ast.AnnAssign))
        }

    def check_nodes(self, statement: ast.stmt) -> None:
        """Rules 5 and 6, anywhere in the statement."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                if node.id in DYNAMIC_NAMES and isinstance(node.ctx, ast.Load):
                    self.refuse(node, 5, f"{node.id}", DYNAMIC_NAMES[node.id])
                if node.id in self.watched:
                    self.check_dynamic(node)
            elif isinstance(node, ast.Attribute):
                if node.attr in DYNAMIC_ATTRIBUTES:
                    self.refuse(node, 5, f".{node.attr}", DYNAMIC_ATTRIBUTES[node.attr])
                if self.watched:
                    self.check_dynamic(node)
            elif isinstance(node, ast.Call):
                self.check_call(node)

    def check_dynamic(self, node: ast.Name | ast.Attribute) -> None:
        name = self.resolve(node)
        for pattern, mend in DYNAMIC_CALLS.items():
            if matches(name, (pattern,)):
                self.refuse(node, 5, name, mend)

    def check_call(self, node: ast.Call) -> None:
        name = self.resolve(node.func)
        if name in ("getattr", "setattr", "delattr") and len(node.args) > 1:
            if not (isinstance(node.args[1], ast.Constant) and isinstance(node.args[1].value, str)):
                shown = ast.unparse(node.args[1])
                self.refuse(node, 5, f"{name} by the string {shown}", "name the attribute, or use a dict literal")
        if matches(name, DATA_CALLS) and self.reads_package_data(node):
            self.refuse(node, 5, f"{name} of the package's data", "embed the data as a constant")
        if name == "vars" and not node.args:
            self.refuse(node, 5, "vars() of the module", "use a dict literal as registry")
        pickled = any(keyword.arg == "allow_pickle" and not is_false(keyword.value) for keyword in node.keywords)
        if name in PICKLE_CALLS and (name != "numpy.load" or pickled) or last_name(node.func) == "to_pickle":
            self.refuse(node, 6, f"{name or '.to_pickle'} reads or writes pickle", PICKLE_MEND)

    def reads_package_data(self, node: ast.Call) -> bool:
        """Whether a call that reads data files names the project's package, or does not say whose data it reads."""
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value.partition(".")[0] == self.graph.layout.package
        return not isinstance(first, ast.Name) or first.id not in self.module.top_imports

    def check_f_strings(self) -> None:
        """Rule 0: before Python 3.12, braces hold no quote of the outer kind, backslash, comment or line end."""
        import tokenize  # slow to import, and needed by newer Pythons only

        quotes: list[str] = []  # of the f-strings that are open
        for token in tokenize.generate_tokens(io.StringIO(self.module.text).readline):
            kind = tokenize.tok_name[token.type]
            if quotes and kind in ("STRING", "FSTRING_START", "COMMENT", "NL"):
                wrong = kind == "COMMENT" or any(outer in token.string for outer in quotes)
                wrong = wrong or (kind == "STRING" and "\\" in token.string)
                if wrong or (kind == "NL" and any(len(outer) == 1 for outer in quotes)):
                    found = "f-string that needs Python 3.12"
                    self.found.append(Violation(self.module.shown, token.start[0], 0, found, "use a variable"))
            if kind == "FSTRING_START":
                opening = token.string.lstrip("fFrR")
                quotes.append(opening[:3] if len(opening) >= 3 else opening[:1])
            elif kind == "FSTRING_END":
                quotes.pop()


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the patterns, or below one that ends with a dot."""
    return name in patterns or (bool(name) and any(f"{name}.".startswith(each) for each in patterns if each[-1] == "."))


def is_plain_target(target: ast.expr) -> bool:
    """Whether an assignment target consists of names only, also in tuples and lists."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(is_plain_target(element) for element in target.elts)
    if isinstance(target, ast.Starred):
        return is_plain_target(target.value)
    return isinstance(target, ast.Name)


def is_false(node: ast.expr) -> bool:
    """Whether an expression is the constant False."""
    return isinstance(node, ast.Constant) and node.value is False


def describe_statement(node: ast.stmt) -> tuple[str, str]:
    """What an unwanted statement is, and the mend."""
    in_main = "do it in a function that main calls"
    if isinstance(node, ast.If):
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return "an if block for TYPE_CHECKING", "import the names plainly; annotations are not evaluated anyway"
        if "__main__" in ast.unparse(node.test):
            return "a main guard", "keep it to the entry, as its last statement, without else"
        return "an if block", "choose in a function that main calls"
    if isinstance(node, ast.Try):
        return "a try block", "import plainly: the list of the Kaggle image says what is there"
    if isinstance(node, ast.Expr):
        if isinstance(node.value, ast.Call):
            return f"a call of {dotted_name(node.value.func) or 'a function'}", in_main
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return "text that is not the docstring", "make it a comment"
        return "an expression", in_main
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        return "an assignment to something other than a new name", "write the whole value as one literal"
    return place_name(node).replace(" block", " statement"), in_main
