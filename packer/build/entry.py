"""The entry of an ensemble's kernel: a module that imports what its spec names, and nothing else, for the kernel's loop.

It follows from the spec and the sources, so that `verify` can write it again; it is in no file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foldpack.predict.view import View
from foldpack.predict.views import views_of_spec
from foldpack.settings.project_code import is_project_code, split_code
from packer.build.entry_part import Part, object_part
from packer.errors import PackError
from packer.flatten.graph import Layout
from packer.flatten.imports import render_imports
from packer.flatten.source import Import, Module, read_module

PACKAGE = "foldpack"
ENTRY = Path("entry.py")  # how tracebacks and banners call it
TASKS = ("foldpack/tasks/registry.py", "TASKS")
LOOP = "foldpack/kernel/main.py"  # whose docstring says how the script works
GIVEN = ("from contextlib import AbstractContextManager", "from typing import Any",
         "from foldpack.kernel.main import run_kernel", "from foldpack.kernel.start import begin_kernel")


LEVEL2 = Part("open_level2", (Import("foldpack.ensemble.level2", "open_level2", "", 0, 1, ""),))


def ensemble_layout(spec: dict[str, Any], src: Path, project: Path) -> Layout:
    """What is packed for an ensemble. src: the folder that holds `foldpack`; project: the user's own, where FILE.py of
    the spec lie. Raises PackError for a name that is in neither."""
    own = any(map(is_project_code, [spec["competition"], *tasks_of(spec), *networks_of_spec(spec)]))
    return Layout(src, PACKAGE, ENTRY, entry_text(spec, src, project), project if own else None, "src")


def entry_text(spec: dict[str, Any], src: Path, project: Path) -> str:
    """The source of the entry. spec: of an ensemble, as plain data. Raises PackError."""
    adapter = adapter_part(spec["competition"], project)
    tasks = {name: task_part(name, src, project) for name in tasks_of(spec)}
    networks = {place: own_part(place, "network", project) for place in networks_of_spec(spec)}
    views = {name: view_part(view) for name, view in views_of_spec(spec).items()}
    level2 = LEVEL2 if any(stage.get("level2") for stage in spec["stages"]) else Part("None", ())
    parts = [adapter, *tasks.values(), *views.values(), *networks.values(), level2]
    imports = [each for line in GIVEN for each in parse_import(line)]
    imports += [each for part in parts for each in part.imports]
    handed = {"tasks": dict_text(tasks), "adapter": adapter.expression, "views": dict_text(views),
              "networks": dict_text(networks), "level2": level2.expression}
    page = ast.get_docstring(read_source(src / LOOP, LOOP).tree) or ""
    lines = [
        f'"""{page}\n"""', "", "from __future__ import annotations", "", *render_imports(imports), "", "",
        "def begin(spec: dict[str, Any], running: bool) -> AbstractContextManager[None]:",
        '    """Around the imports of other packages. running: not in a worker process."""',
        "    return begin_kernel(spec, running)", "", "",
        "def main(spec: dict[str, Any], keys: dict[str, str], argv: list[str] | None = None) -> int:",
        '    """Predict, write `submission.csv`, check it. Returns the exit code."""',
        "    return run_kernel(", "        spec, keys, argv,",
        *(f"        {name}={text}," for name, text in handed.items()), "    )"]
    return "\n".join(lines) + "\n"


def adapter_part(name: str, project: Path) -> Part:
    """The adapter: a project's own, or what a kernel needs of one that is declared, written out. Raises PackError for a
    file that is not in the project, and what `get_competition` raises."""
    from foldpack.competitions.adapters import get_competition, is_competition_file  # slow to import, with all metrics
    from foldpack.competitions.kernel_half import kernel_half

    if is_project_code(name):
        return own_part(name, "competition", project)
    if is_competition_file(name) and (Path(name).is_absolute() or ".." in Path(name).parts):
        raise PackError(f"competition {name}: it must lie in the project's folder, {project}, so that the kernel can be "
                        "verified; name it from there")
    competition = get_competition(name, project)
    return object_part(kernel_half(competition.config.model_dump(), competition.reader))


def view_part(view: View) -> Part:
    """A view as a literal, so that no kernel need read its name."""
    usual = View("")
    given = [f"{name}={getattr(view, name)!r}" for name in ("turn", "window", "side", "grey")
             if getattr(view, name) != getattr(usual, name)]
    imports = ["from foldpack.predict.view import View"]
    imports += ["from fractions import Fraction"] if view.window != usual.window else []
    needed = tuple(each for line in imports for each in parse_import(line))
    return Part(f"View({', '.join([ascii(view.name), *given])})", needed)


def dict_text(parts: dict[str, Part]) -> str:
    """A dict literal on one line."""
    return "{" + ", ".join(f"{ascii(name)}: {part.expression}" for name, part in parts.items()) + "}"


def tasks_of(spec: dict[str, Any]) -> list[str]:
    """The tasks of all stages, each once."""
    return list(dict.fromkeys(stage["task"] for stage in spec["stages"]))


def networks_of_spec(spec: dict[str, Any]) -> list[str]:
    """The networks of a project's own in all stages, `FILE.py:NAME`, each once."""
    members = [member for stage in spec["stages"] for member in stage["members"]]
    return list(dict.fromkeys(member["network"] for member in members if member.get("network")))


def own_part(place: str, what: str, project: Path) -> Part:
    """`FILE.py:NAME` of a project. A class of an adapter or a task is made without arguments. Raises PackError."""
    file, name = split_code(place, what)
    if file.is_absolute() or ".." in file.parts:
        raise PackError(f"{what} {place}: what a kernel takes along must lie in the project's folder, {project}; "
                        "name it from there")
    module = read_source(project / file, file.as_posix())
    if name not in module.defined:
        raise PackError(f"{what} {place}: {file} defines no '{name}' at its top, so it cannot be packed; define it there")
    node = module.defined[name][-1].node
    made = isinstance(node, ast.ClassDef) and what != "network"
    dotted = ".".join(file.with_suffix("").parts)
    return Part(f"{name}()" if made else name, (Import(dotted, name, "", 0, 1, ""),))


def task_part(name: str, src: Path, project: Path) -> Part:
    """A task: of the project's own, or of the registry, which is a dict literal. Raises PackError."""
    if is_project_code(name):
        return own_part(name, "task", project)
    module = read_source(src / TASKS[0], TASKS[0])
    literal = getattr(module.defined[TASKS[1]][-1].node, "value", None)
    assert isinstance(literal, ast.Dict)
    for key, value in zip(literal.keys, literal.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == name:
            names = [each.id for each in ast.walk(value) if isinstance(each, ast.Name)]
            return Part(ast.unparse(value), tuple(module.top_imports[each] for each in names))
    raise PackError(f"task '{name}' is not among those of {TASKS[0]}; name a FILE.py:NAME of the project")


def read_source(path: Path, shown: str) -> Module:
    """A parsed source file. Raises PackError where it cannot be read."""
    found = read_module(path, shown, "")
    if not isinstance(found, Module):
        raise PackError.from_violations([found])
    return found


def parse_import(line: str) -> Iterator[Import]:
    """`from module import name` as the packer sees it."""
    module, _, name = line.removeprefix("from ").partition(" import ")
    yield Import(module, name, "", 0, 1, "")
