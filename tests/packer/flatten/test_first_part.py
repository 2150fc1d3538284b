"""What an entry's `begin` reaches runs before other packages are imported, and stays when they cannot be."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packing import Ran, pack_project, run_script, write_project

from packer.build.notebook import script_parts
from packer.build.pack import WheelSet, pack_entry
from packer.build.where import verify_script, where
from packer.errors import PackError

ENTRY = '''"""An entry with a first part."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from toy.a import fail, loaded


@contextmanager
def begin(spec: dict, running: bool) -> Iterator[None]:
    if running:
        print("first", spec["name"], loaded())
    if spec["name"] == "early":
        fail()
    try:
        yield
    except BaseException as failure:
        print("kept", type(failure).__name__)
        raise
    if running:
        print("then", loaded())


def double(value: int) -> int:
    return int(np.multiply(value, 2))


def main(spec: dict, keys: dict[str, str]) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [4]))
    if spec["name"] == "late":
        fail()
    return 0
'''
MODULE = '''"""Cut in two."""

from __future__ import annotations

import numpy as np


def loaded() -> bool:
    """Whether NumPy's library is in this process."""
    with open("/proc/self/maps") as file:
        return "_multiarray_umath" in file.read()


def fail() -> None:
    raise ValueError("on purpose")


def heavy() -> float:
    return float(np.pi)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", {"kernels/go.py": ENTRY, "src/toy/a.py": MODULE})


def run_packed(project: Path, tmp_path: Path, name: str) -> tuple[str, Ran]:
    text = pack_project(project, {"name": name}).text
    (tmp_path / "script.py").write_text(text)
    return text, run_script(tmp_path / "script.py", tmp_path / "empty")


def test_it_runs_before_other_packages_are_imported_and_not_in_workers(project: Path, tmp_path: Path) -> None:
    text, ran = run_packed(project, tmp_path, "best")
    assert (ran.code, ran.out) == (0, "first best False\nthen True\n[8]\n"), ran.err
    assert verify_script(text, project / "src").identical
    top = [node for node in ast.parse(text).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not any("numpy" in ast.unparse(node) for node in top)


@pytest.mark.parametrize("name", ["early", "late"])
def test_its_tracebacks_are_true(project: Path, tmp_path: Path, name: str) -> None:
    line = 1 + MODULE.split("\n").index('    raise ValueError("on purpose")')
    text, ran = run_packed(project, tmp_path, name)
    assert ran.code == 1 and f"(src/toy/a.py:{line})" in ran.err and "(kernels/go.py:" in ran.err
    at = 1 + text.split("\n").index('    raise ValueError("on purpose")')
    assert where(text, at) == f"src/toy/a.py:{line}"


def test_it_may_look_at_an_import_that_fails(project: Path, tmp_path: Path) -> None:
    text = pack_project(project, {"name": "best"}).text
    (tmp_path / "script.py").write_text(text)
    (tmp_path / "numpy.py").write_text('raise ImportError("libnothing.so is missing")\n')
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and done.stdout == "first best False\nkept ImportError\n"
    assert "libnothing.so is missing" in done.stderr


def test_wheels_are_installed_after_it_and_what_lacks_is_told_to_it(project: Path, tmp_path: Path) -> None:
    wheels = WheelSet("me/wheels", ("outsider",))
    made = pack_entry(project / "kernels/go.py", project / "src", "toy", spec={"name": "best"}, wheels=wheels)
    (tmp_path / "script.py").write_text(made.text)
    ran = run_script(tmp_path / "script.py", tmp_path / "empty", "--input", str(tmp_path / "empty"))
    assert (ran.code, ran.out) == (1, "first best False\nkept SystemExit\n")
    assert f"no wheel of outsider below {tmp_path / 'empty'}; attach the dataset me/wheels" in ran.err


def test_every_row_of_the_contents_is_a_part_of_a_notebook(project: Path) -> None:
    text = pack_project(project, {"name": "best"}).text
    parts = script_parts(text)
    assert [title for title, _ in parts] == [
        "About this script", "imports", "SPEC and KEYS", "PACKED_LINES, where each line came from",
        "packer/bootstrap/tracebacks.py, added by the packer", "src/toy/a.py", "kernels/go.py",
        "imports of other packages", "kernels/go.py, the rest", "the start"]
    assert "\n".join(part for _, part in parts) + "\n" == text


def test_a_script_keeps_the_style(project: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((Path(__file__).parents[3] / "pyproject.toml").read_text())
    (tmp_path / "script.py").write_text(pack_project(project, {"name": "best"}).text)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        ("def begin(spec: dict) -> None:\n    return None\n",
         "kernels/go.py:4: rule 7: the script will call `begin(SPEC, running)`, which begin does not take"),
        ("begin = 3\n", "kernels/go.py:4: rule 7: `begin` is no function; write `def begin(spec: dict, running: bool)"),
    ],
)
def test_a_begin_that_cannot_be_called_is_refused(tmp_path: Path, begin: str, message: str) -> None:
    entry = f"from __future__ import annotations\n\n\n{begin}\n\ndef main(spec, keys):\n    return 0\n"
    project = write_project(tmp_path / "project", {"kernels/go.py": entry, "src/toy/a.py": MODULE})
    with pytest.raises(PackError) as caught:
        pack_project(project, {"name": "best"})
    assert message in str(caught.value)
