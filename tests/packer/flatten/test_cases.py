"""Every folder in cases/ packs and runs with the package's own output, or is refused with the expected messages.

A case holds `src/toy/`, `kernels/go.py` and maybe `refused.txt` (parts of messages, one a line) or `checks.txt`
(`has: TEXT` and `lacks: TEXT`, on the packed script).
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packing import pack_project, run_package, run_script, write_project

from packer.errors import PackError
from packer.image.image import is_stdlib

CASES = Path(__file__).parents[1] / "cases"
REFUSED = sorted(path.parent.name for path in CASES.glob("*/refused.txt"))
RUNNING = sorted(path.name for path in CASES.iterdir() if path.is_dir() and path.name not in REFUSED)
GRAMMARS = [(3, 10), (3, 11), (3, 12), (3, 13)]


def copy_case(name: str, root: Path) -> Path:
    shutil.copytree(CASES / name, root)
    return write_project(root, {})


def test_there_are_enough_cases() -> None:
    assert len(RUNNING) >= 30 and len(REFUSED) >= 30


@pytest.mark.parametrize("name", RUNNING)
def test_the_script_does_what_the_package_does(name: str, tmp_path: Path) -> None:
    project = copy_case(name, tmp_path / "project")
    text = pack_project(project).text
    assert text == pack_project(project).text
    for grammar in GRAMMARS:
        ast.parse(text, feature_version=grammar)
    check_text(name, text)
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    packed, package = run_script(script, tmp_path / "empty"), run_package(project)
    assert (packed.code, packed.out) == (package.code, package.out), packed.err
    assert packed.err == package.err
    assert list((tmp_path / "empty").iterdir()) == []


def check_text(name: str, text: str) -> None:
    """Assert what the case's checks.txt says of the script."""
    checks = CASES / name / "checks.txt"
    for line in checks.read_text(encoding="utf-8").splitlines() if checks.exists() else []:
        verb, _, wanted = line.partition(": ")
        assert (wanted in text) is (verb == "has"), line


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_place_rule_and_mend(name: str, tmp_path: Path) -> None:
    project = copy_case(name, tmp_path / "project")
    with pytest.raises(PackError) as caught:
        pack_project(project)
    for expected in (CASES / name / "refused.txt").read_text(encoding="utf-8").splitlines():
        assert expected in str(caught.value), str(caught.value)


def test_scripts_break_no_ruff_rule_that_their_sources_keep(tmp_path: Path) -> None:
    """One run over all scripts and sources with the project's own settings; some cases are untidy on purpose."""
    project = Path(__file__).parents[3]
    (tmp_path / "pyproject.toml").write_text((project / "pyproject.toml").read_text())
    for name in RUNNING:
        case = copy_case(name, tmp_path / name)
        (case / "script.py").write_text(pack_project(case).text, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json", "."]
    found = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout)
    broken = {(Path(each["filename"]).relative_to(tmp_path).parts, each["code"]) for each in found}
    sources = {(parts[0], code) for parts, code in broken if parts[1] != "script.py"}
    scripts = {(parts[0], code) for parts, code in broken if parts[1] == "script.py"}
    assert scripts - sources == set()
    assert len({name for name, _ in scripts}) < 10


def test_nothing_of_a_project_is_imported(tmp_path: Path) -> None:
    project = copy_case("diamond", tmp_path / "project")
    before = set(sys.modules)
    pack_project(project)
    new = {name for name in set(sys.modules) - before if not is_stdlib(name.partition(".")[0])}
    assert not [name for name in new if name.startswith(("toy", "go"))]
