"""Python of a project's own, named in settings and on command lines as `FILE.py:NAME`.

FILE is counted from the folder that a command runs in, which is the project's. `:NAME` may be left out where it is what
the thing is: `competition`, `network`, `metric`, `loss` or `task`. The file is run as code: only use one that you
trust.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from foldpack.errors import FoldpackError, did_you_mean

ROOTS: list[str] = []  # folders that files were taken from; the newest is first on Python's path
SEEN: dict[str, tuple[int, int]] = {}  # of the modules that were run: size and time of their files


class ProjectCodeError(FoldpackError):
    """A file of a project's own that cannot be used."""


def is_project_code(text: str) -> bool:
    """Whether a setting names a file of one's own: `models.py`, `models.py:make_net`."""
    return text.partition(":")[0].endswith(".py")


def split_code(text: str, what: str) -> tuple[Path, str]:
    """`models.py:make_net` -> file and name. what: "network", ...: the name, where none is given. Raises
    ProjectCodeError."""
    file, colon, name = text.partition(":")
    if colon and not name.isidentifier():
        raise ProjectCodeError(f"{what} {text}: '{name}' is no name in a Python file; write FILE.py:NAME")
    return Path(file), name or what


def load_code(text: str, what: str) -> Any:
    """What `FILE.py:NAME` names. what: "competition", "network", "metric", "loss" or "task".

    Raises ProjectCodeError for a file that is missing, fails, or lacks the name.
    """
    file, name = split_code(text, what)
    found = vars(run_file(file, f"{what} {text}"))
    if name not in found:
        names = [each for each, value in found.items() if each[0] != "_" and not isinstance(value, ModuleType)]
        raise ProjectCodeError(f"{what} {text}: {file} defines no '{name}': "
                               f"{did_you_mean(name, names) if names else 'it defines nothing'}")
    return found[name]


def run_file(file: Path, label: str) -> ModuleType:
    """The module in a file, which may import others beside it; run again if it has changed. label: begins messages.

    Raises ProjectCodeError.
    """
    path = file.resolve()
    if not path.is_file():
        raise ProjectCodeError(f"{label}: there is no file {file} in {Path.cwd()}; run the command in the project's "
                               "folder, or name the file as seen from here")
    root, parts = module_parts(path)
    if strange := [part for part in parts if not part.isidentifier()]:
        raise ProjectCodeError(f"{label}: a module cannot be called '{strange[0]}'; rename it, with letters, digits "
                               "and underscores")
    use_root(root, parts[0], label)
    name, stat, bytecode = ".".join(parts), path.stat(), sys.dont_write_bytecode
    if SEEN.get(name) != (stat.st_size, stat.st_mtime_ns):
        sys.modules.pop(name, None)
    try:
        sys.dont_write_bytecode = True  # a file that changes within a second would be mistaken for its old self
        found = importlib.import_module(name)
        SEEN[name] = (stat.st_size, stat.st_mtime_ns)
        return found
    except Exception as failure:
        place = where_it_failed(failure, root) or f"{file}"
        said = f"{type(failure).__name__}: {' '.join(str(failure).split())}"
        raise ProjectCodeError(f"{label}: {place}: {said}; mend it, or install what it imports") from failure
    finally:
        sys.dont_write_bytecode = bytecode


def module_parts(path: Path) -> tuple[Path, list[str]]:
    """The folder that imports are counted from, and the parts of the module's name below it: the project's folder, or
    that of the file where it lies elsewhere."""
    project = Path.cwd().resolve()
    root = project if path.is_relative_to(project) else path.parent
    return root, list(path.relative_to(root).with_suffix("").parts)


def use_root(root: Path, name: str, label: str) -> None:
    """Let imports find the modules of a folder first, and forget those of the same names from another one.

    name: of the file's first folder, or of the file. Raises ProjectCodeError where an installed module has it too.
    """
    elsewhere = [each for each in sys.path if each not in ROOTS and Path(each).resolve() != root]
    spec = PathFinder.find_spec(name, elsewhere)
    if name in sys.stdlib_module_names or (spec is not None and spec.origin is not None):  # None: just a folder
        raise ProjectCodeError(f"{label}: an installed module is called '{name}' too; rename the file or its folder")
    if ROOTS[:1] == [str(root)]:
        return
    mine = {path.stem for path in root.iterdir()}
    for module in [each for each in sys.modules if each.partition(".")[0] in mine and is_of_a_root(sys.modules[each])]:
        del sys.modules[module]
    folders = [path.name for path in root.iterdir() if path.is_dir()]  # a module of another root would win over them
    same = [each for each in ROOTS if any(PathFinder.find_spec(folder, [each]) is not None for folder in folders)]
    for each in dict.fromkeys([str(root), *same]):
        if each in ROOTS:
            ROOTS.remove(each)
            sys.path.remove(each)
    ROOTS.insert(0, str(root))
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()


def is_of_a_root(module: ModuleType) -> bool:
    """Whether a module came from a folder that files were taken from."""
    file = getattr(module, "__file__", None)
    return file is not None and any(Path(file).is_relative_to(root) for root in ROOTS)


def where_it_failed(failure: Exception, root: Path) -> str:
    """`models.py, line 3, 'import nothing'`: the last place in the project that an error came through; "" for none."""
    steps = [(each.filename, each.lineno, each.line) for each in traceback.extract_tb(failure.__traceback__)]
    if isinstance(failure, SyntaxError):
        steps.append((failure.filename or "", failure.lineno, failure.text))
    mine = [step for step in steps if Path(step[0]).is_relative_to(root)]
    if not mine:
        return ""
    file, number, line = mine[-1]
    return f"{Path(file).relative_to(root)}, line {number}, '{(line or '').strip()}'"
