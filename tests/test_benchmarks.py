"""Benchmarks run without their peers: each says in one line what is left out, and none needs them to start."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "benchmarks").glob("*.py"))


def requirements(section: str, key: str) -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return {canonicalize_name(Requirement(line).name) for line in parser[section][key].split("\n") if line}


def imported(path: Path) -> set[str]:
    """The top-level names of everything that a file imports, at its top or anywhere else."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_benchmark_imports_only_what_is_always_there(path: Path) -> None:
    ours = {"foldpack", "packer", *(file.stem for file in FILES), *sys.stdlib_module_names}
    needed = requirements("options", "install_requires")
    strange = {name for name in imported(path) - ours
               if not needed & {canonicalize_name(each) for each in packages_distributions().get(name, [])}}
    assert strange == set(), f"{path.name}: import these with peers.find_peer, or name them in install_requires"


def blocked(folder: Path, peer: str, code: str) -> Path:
    """A folder for the front of the path, in which a peer ends its import with `code`."""
    (folder / f"{peer}.py").write_text(code)
    return folder


@pytest.mark.parametrize(("code", "line"), [
    ("raise ModuleNotFoundError('pyrage')",
     "pyrage is not installed here; left out: its row; `make bench-setup` installs it"),
    ("import numpy\nnumpy.no_such_name_of_old", "pyrage cannot be imported here ("),
])
def test_a_missing_peer_is_said_in_one_line_and_its_row_left_out(tmp_path: Path, code: str, line: str) -> None:
    place = blocked(tmp_path, "pyrage", code)
    command = [sys.executable, str(ROOT / "benchmarks/sealed.py"), "--mib", "1", "--pairs", "1", "--slow-pairs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(place)})
    assert done.returncode == 0 and done.stderr.startswith(line) and done.stderr.count("\n") == 1, done.stderr
    assert "| `read_sealed` / Fernet |" in done.stdout and "pyrage" not in done.stdout
