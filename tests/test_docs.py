"""The prose says what the code does: folders, commands, options, settings, links, words and room order.

Commands and settings are read from the source text, so that no test here has to import torch; a slow test compares
what was read with the real thing.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from foldpack.settings.strict_yaml import load_strict

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "foldpack"
COMMANDS = "docs/commands.md"
CONFIGURATION = "docs/configuration.md"
PROSE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))
NEEDED = "needed"
SETTINGS = {"Boxes": "settings/outputs.py", "Retrieval": "settings/retrieve.py",
            "RunConfig": "settings/run.py", "NetConfig": "settings/network.py",
            "ProjectConfig": "settings/project.py",
            "RecipeConfig": "settings/recipe.py", "LossConfig": "settings/training/loss.py",
            "TransformConfig": "settings/training/augment.py", "PseudoConfig": "settings/training/extra_labels.py",
            "OptimConfig": "settings/training/optim.py", "SamplerConfig": "settings/training/sampler.py",
            "EnsembleSpec": "settings/ensemble.py", "StageSpec": "settings/stages.py",
            "FilesSpec": "settings/file_members.py", "NamedOutputs": "settings/outputs.py"}
# What is one of several kinds, and the section that has them.
KINDS = {"Outputs": "Outputs", "Fuse": "Ways to fuse", "Decision": "Decisions"}
WORDS = (
    "fold, run, checkpoint, OOF, item, view, member, blend weight, level 1, level 2, stage, unit, plan, budget, spec, "
    "logit, prob, score, query, gallery, embedding, kernel, entry, pack, seal, stage a dataset, rehearse, slug"
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# ---- commands, read from typer's and argparse's own calls ----


def call_name(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def flags_in(call: ast.Call) -> list[str]:
    """The option names in a call such as `typer.Option("--data", "-d")` or `add_argument("--data")`."""
    texts = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [name for text in texts for name in text.split("/") if name.startswith("-")]


def parameter_options(name: str, annotation: ast.AST, aliases: dict[str, ast.AST]) -> list[str]:
    """`--name` of an option, `NAME` of an argument, for one parameter of a command; a dataclass has several."""
    if isinstance(annotation, ast.Name) and annotation.id in aliases:
        annotation = aliases[annotation.id]
    if isinstance(annotation, ast.ClassDef):
        return [option for node in annotation.body if isinstance(node, ast.AnnAssign)
                for option in parameter_options(ast.unparse(node.target), node.annotation, aliases)]
    for node in ast.walk(annotation):
        if call_name(node) == "typer.Argument":
            return [name.upper()]
        if call_name(node) == "typer.Option":
            assert isinstance(node, ast.Call)
            return flags_in(node) or ["--" + name.replace("_", "-")]
    raise AssertionError(f"parameter {name} of a command says neither typer.Option nor typer.Argument")


def typer_commands(path: Path, prefix: str) -> dict[str, list[str]]:
    """Command -> options and arguments, of a module with typer commands and of the modules that it takes in."""
    modules = [path, *sorted(command_modules(path) - {path})]
    trees = [tree_of(module) for module in modules]
    shared = [tree_of(module) for module in imported_modules(modules)]
    aliases: dict[str, ast.AST] = {t.id: node.value for tree in trees + shared for node in tree.body
                                   if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)}
    aliases |= {node.name: node for tree in trees + shared for node in tree.body if isinstance(node, ast.ClassDef)}
    groups = {ast.unparse(node.args[0]): keyword.value.value for tree in trees for node in ast.walk(tree)
              if isinstance(node, ast.Call) and call_name(node).endswith(".add_typer")
              for keyword in node.keywords if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)}
    found: dict[str, list[str]] = {}
    for tree in trees:
        functions = {node.name: node for node in tree.body if isinstance(node, FUNCTIONS)}
        for owner, name, function in command_functions(tree, functions):
            words = [prefix, *([groups[owner]] if owner in groups else []), *([name] if name else [])]
            parameters = [each for each in function.args.args
                          if each.annotation is not None and ast.unparse(each.annotation) != "typer.Context"]
            found[" ".join(words)] = [option for each in parameters
                                      for option in parameter_options(each.arg, each.annotation, aliases)]
    return found


def command_functions(tree: ast.Module, functions: dict) -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """(application, command, function) of `@app.command(...)` and of `app.command(...)(function)`."""
    for function in functions.values():
        for decorator in function.decorator_list:
            if call_name(decorator).endswith(".command"):
                yield call_name(decorator).removesuffix(".command"), *named(decorator, function)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and call_name(node.func).endswith(".command"):
            function = functions[ast.unparse(node.args[0])]
            yield call_name(node.func).removesuffix(".command"), *named(node.func, function)


def named(call: ast.Call, function: ast.FunctionDef) -> tuple[str, ast.FunctionDef]:
    given = [each.value for each in call.args if isinstance(each, ast.Constant)]
    return (str(given[0]) if given else function.name.rstrip("_").replace("_", "-")), function


def imported_modules(paths: list[Path]) -> list[Path]:
    """The foldpack and packer modules that some modules import, themselves left out."""
    found = set()
    for path in paths:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("foldpack", "packer"):
                base = ROOT / "src" if node.module.startswith("foldpack") else ROOT
                found.add(base.joinpath(*node.module.split(".")).with_suffix(".py"))
    return sorted(path for path in found - set(paths) if path.is_file())


def command_modules(path: Path) -> set[Path]:
    """A module, and all modules with typer commands that it reaches through such modules."""
    found, waiting = set(), [path]
    while waiting:
        here = waiting.pop()
        if here not in found and ".command(" in here.read_text(encoding="utf-8"):
            found.add(here)
            waiting += imported_modules([here])
    return found


def argparse_options(name: str) -> list[str]:
    return [flag for node in ast.walk(tree_of(ROOT / name)) if isinstance(node, ast.Call)
            and call_name(node).endswith(".add_argument") for flag in flags_in(node)]


@cache
def every_command() -> dict[str, list[str]]:
    found = typer_commands(SRC / "commands/main.py", "foldpack")
    found["The packed kernel"] = argparse_options("src/foldpack/kernel/options.py")
    found["python -m packer"] = argparse_options("packer/__main__.py")
    return found


def command_sections() -> dict[str, str]:
    parts = re.split(r"(?m)^#+ (.+)$", text_of(COMMANDS))
    return {title.strip("`"): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("command", sorted(every_command()))
def test_a_command_has_a_section_with_all_its_options(command: str) -> None:
    section = command_sections().get(command)
    assert section is not None, f"{COMMANDS} has no section '{command}'"
    missing = [option for option in every_command()[command] if option not in section]
    assert missing == [], f"{COMMANDS}, section '{command}'"


def test_no_section_documents_a_command_or_option_that_is_gone() -> None:
    for title, body in command_sections().items():
        if title.startswith(("foldpack ", "./", "python -m")):
            assert title in every_command()
            assert set(re.findall(r"(?m)^\| .*?`(--[a-z0-9-]+)`", body)) <= set(every_command()[title])


def test_commands_named_in_prose_exist() -> None:
    words = {command.split()[1] for command in every_command() if command.startswith("foldpack ")}
    for path in PROSE:
        for name in re.findall(r"`(?:[./\w]*/)?foldpack ([a-z]+)", path.read_text(encoding="utf-8")):
            assert name in words, f"{path.relative_to(ROOT)} names `foldpack {name}`"


@pytest.mark.slow
def test_the_commands_read_from_source_are_those_of_the_program() -> None:
    import typer

    from foldpack.commands.main import app

    def walk(command, name: str) -> Iterator[tuple[str, set[str]]]:
        for child, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {child}")
        if not hasattr(command, "commands"):
            yield name, {flag for each in command.params for flag in each.opts if flag.startswith("--")} - {"--help"}

    real = dict(walk(typer.main.get_command(app), "foldpack"))
    read = {name: {one for one in options if one.startswith("--")} for name, options in every_command().items()
            if name.startswith("foldpack ")}
    assert read == real


# ---- settings, read from the classes that define them ----


@cache
def settings_classes() -> dict[str, dict[str, tuple[str, ast.expr | None]]]:
    """Class -> field -> (annotation, default) of all settings classes of config, spec and recipe."""
    found = {}
    for file in SETTINGS.values():
        for node in tree_of(SRC / file).body:
            bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.ClassDef) and any(base == "StrictModel" or base in found for base in bases):
                found[node.name] = {key: value for base in bases for key, value in found.get(base, {}).items()}
                found[node.name] |= {each.target.id: (ast.unparse(each.annotation), each.value) for each in node.body
                                    if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)}
    return found


def keys_of(name: str, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, default or NEEDED) of a settings class, recursively; `[]` marks lists."""
    for field, (annotation, default) in settings_classes()[name].items():
        if annotation.split(" ")[0] in KINDS:
            yield prefix + field, NEEDED if default is None else ast.literal_eval(default)
            continue
        inner = [word for word in re.findall(r"\w+", annotation) if word in settings_classes()]
        if "BeforeValidator" in annotation:  # may be written in short, too
            yield prefix + field, False
        if inner:
            yield from keys_of(inner[0], f"{prefix}{field}{'[]' if 'list[' in annotation else ''}.")
        else:
            yield prefix + field, NEEDED if default is None else ast.literal_eval(default)


def kinds_of(alias: str) -> Iterator[tuple[str, object]]:
    """(kind.key, default or NEEDED) of all classes of a union such as `Decision`; (kind, None) of one without keys."""
    assigned = {node.targets[0].id: node.value for node in tree_of(SRC / SETTINGS["StageSpec"]).body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    for word in re.findall(r"\w+", ast.unparse(assigned[alias])):
        if word in settings_classes():
            keys = dict(keys_of(word))
            kind = str(keys.pop("kind"))
            yield from ((f"{kind}.{key}", default) for key, default in keys.items()) if keys else [(kind, None)]


def documented_keys(title: str) -> dict[str, str]:
    """Key -> default cell, of one `##` section of the configuration page."""
    sections = re.split(r"(?m)^## ", text_of(CONFIGURATION))
    [section] = [each for each in sections if each.startswith(title)]
    return dict(re.findall(r"(?m)^\| `([^`]+)` \| `?(.*?)`? \|", section))


@pytest.mark.parametrize(("name", "title"), [("RunConfig", "A run"), ("RecipeConfig", "A recipe"),
                                             ("EnsembleSpec", "An ensemble"), ("ProjectConfig", "A project")])
def test_every_settings_key_is_documented_with_its_default(name: str, title: str) -> None:
    documented = {key: cell if cell == NEEDED else load_strict(f"x: {cell}", CONFIGURATION)["x"]
                  for key, cell in documented_keys(title).items()}
    assert documented == dict(keys_of(name))


@pytest.mark.parametrize("alias", KINDS)
def test_every_kind_is_documented_with_its_defaults(alias: str) -> None:
    documented = {key: cell if cell == NEEDED else load_strict(f"x: {cell}", CONFIGURATION)["x"]
                  for key, cell in documented_keys(KINDS[alias]).items()}
    assert documented == dict(kinds_of(alias))


def test_the_settings_read_from_source_are_those_of_the_classes() -> None:
    from foldpack.settings.ensemble import EnsembleSpec
    from foldpack.settings.run import RunConfig

    for model in (RunConfig, EnsembleSpec):
        assert set(settings_classes()[model.__name__]) == set(model.model_fields)


# ---- folders, links, words ----


def tracked_files() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def folder_rows() -> dict[str, str]:
    section = text_of("README.md").split("\n## Folders\n")[1].split("\n## ")[0]
    return dict(re.findall(r"(?m)^\| `([^`]+/)` \| (.+) \|$", section))


def test_every_folder_in_the_readme_exists() -> None:
    assert [folder for folder in folder_rows() if not (ROOT / folder).is_dir()] == []


def test_every_source_folder_is_in_the_readme() -> None:
    packages = {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in SRC.rglob("*.py")}
    tops = {f"{name.split('/')[0]}/" for name in tracked_files() if "/" in name and not name.startswith(".")} - {"src/"}
    assert sorted((packages | tops) - set(folder_rows())) == []


def test_files_named_in_the_readme_and_in_the_architecture_exist() -> None:
    for page in ("README.md", "docs/architecture.md"):
        for name in re.findall(r"`((?:src|packer|kernels|tests|docs)/[\w./-]+\.\w+)`", text_of(page)):
            assert (ROOT / name).is_file(), f"{page} names {name}"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            file, _, anchor = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists(), target
            assert not anchor or anchor in anchors_of(linked), target


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_glossary_has_the_words_of_the_house() -> None:
    listed = set(re.findall(r"(?m)^\| \*\*(.+?)\*\* \|", text_of("docs/glossary.md")))
    assert set(WORDS.split(", ")) - listed == set()


def test_every_decision_has_context_choice_and_consequences() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: ")
        assert re.findall(r"\*\*(Context|Choices?|Consequences)\.\*\*", text)[0] == "Context", page.name
        assert "**Choice" in text and "**Consequences.**" in text, page.name


def test_no_file_names_a_path_of_the_machine_that_it_was_made_on() -> None:
    pattern = re.compile(rf"(?<![\w.}}*-])/(?:{'|'.join(('work', 'root'))})(?![\w-])")
    for name in tracked_files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert pattern.search(text) is None, name


# ---- room order ----


def room_groups(first: str) -> list[list[str]]:
    """The groups of the order on the architecture page that begins with these words, left to right."""
    [block] = re.findall(rf"(?m)^ +({first}.*\n(?:        [->].*\n)*)", text_of("docs/architecture.md"))
    return [[name.strip() for name in group.split(",")] for group in block.replace("\n", " ").split("->")]


def room_of(path: Path, inside: Path) -> str:
    return path.relative_to(inside).parts[0].removesuffix(".py") if path.is_relative_to(inside) else "packer"


def imports_between_rooms(paths: Iterable[Path], inside: Path) -> dict[tuple[str, str], str]:
    """(room, room that it imports from) -> a module that does so."""
    found = {}
    for path in paths:
        for target in imported_modules([path]):
            pair = room_of(path, inside), room_of(target, inside)
            if pair[0] != pair[1]:
                found[pair] = path.relative_to(ROOT).as_posix()
    return found


def check_order(pairs: dict[tuple[str, str], str], groups: list[list[str]]) -> None:
    """Every import goes to the left, or inside a group in one direction."""
    place = {room: number for number, group in enumerate(groups) for room in group}
    for (room, other), module in pairs.items():
        assert {room, other} <= place.keys(), f"docs/architecture.md has no place for {room} or {other} ({module})"
        assert place[other] <= place[room], f"{module} imports from the room {other}, which is to its right"
        assert (other, room) not in pairs, f"{room} and {other} import from each other: {module}"


def test_rooms_import_only_from_rooms_to_their_left() -> None:
    pairs = imports_between_rooms([*SRC.rglob("*.py"), *(ROOT / "packer").rglob("*.py")], SRC)
    check_order(pairs, room_groups("errors, files"))
    assert [room for room, other in pairs if other == "packer"] == ["commands"]


def test_the_packer_has_an_order_of_its_own() -> None:
    packer = ROOT / "packer"
    rooms = [path for folder in packer.iterdir() if folder.is_dir() for path in folder.rglob("*.py")]
    within = {path: [each for each in imported_modules([path]) if each.is_relative_to(packer)] for path in rooms}
    pairs = {(room_of(path, packer), room_of(target, packer)): path.relative_to(ROOT).as_posix()
             for path, targets in within.items() for target in targets}
    check_order({pair: module for pair, module in pairs.items() if pair[0] != pair[1]},
                room_groups("errors, environment"))
    assert not [pair for pair in pairs if pair[0] == "bootstrap"]


def test_no_module_and_no_folder_is_too_large() -> None:
    code = [path for top in (SRC, ROOT / "packer", ROOT / "kernels") for path in top.rglob("*.py")]
    long = {path.name: lines for path in code if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 350}
    assert long == {}
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in code if path.name != "__init__.py")
    assert {folder: count for folder, count in folders.items() if count > 17} == {}


def test_no_function_takes_too_many_parameters() -> None:
    found = {}
    for path in (path for top in (SRC, ROOT / "packer", ROOT / "kernels") for path in top.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                found[f"{path.name}:{node.name}"] = len(given)
    assert len(found) > 1000
    assert {name: count for name, count in found.items() if count > 12} == {}


def test_no_two_files_of_tests_share_a_name() -> None:
    """pytest imports them by that name, and a run of all would end where one of a folder does not."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []
