"""The tool as `pip install .` lays it out: it finds its own parts, and packs the same script as a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from shapes import make_shape
from small_house import PROJECT, House

from foldpack.commands.recipe import FOLDPACK


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that foldpack alone is installed in; what it needs is that of this environment."""
    root = tmp_path_factory.mktemp("installed")
    for name in ("src", "packer"):
        shutil.copytree(PROJECT / name, root / "clone" / name,
                        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, root / "clone")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
               "--target", str(root / "site"), str(root / "clone")]
    subprocess.run(command, check=True, cwd=root)
    shutil.rmtree(root / "clone")
    return root / "site"


def run(site: Path, here: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`foldpack WORDS` of the installed tool."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *FOLDPACK, *map(str, words)], cwd=here, env=environment, text=True,
                          capture_output=True, check=False)


def test_the_commands_run_from_anywhere(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "--help")
    assert done.returncode == 0 and "deploy" in done.stdout, done.stderr
    done = run(installed, tmp_path, "check")
    assert done.returncode == 2 and done.stderr.startswith(f"error: {installed.parent / 'kernels'}: there is no such ")


def test_the_installed_tool_packs_the_same_script(installed: Path, house: House, tmp_path: Path) -> None:
    shutil.copytree(house.root / "build/sealed", tmp_path / "build/sealed")
    shutil.copy2(house.keyring, tmp_path / "keyring")
    done = run(installed, tmp_path, "deploy", house.ensemble, "--dry-run", "--runs", house.runs, "--build", "build",
               "--keyring", "keyring", "--owner", "someone")
    assert done.returncode == 0, done.stderr
    packed = tmp_path / "build" / "small" / "small.keyless.py"
    assert packed.read_bytes() == house.build.keyless.read_bytes()
    done = run(installed, tmp_path, "verify", packed)
    assert (done.returncode, done.stdout) == (0, "identical\n"), done.stderr


def test_a_project_is_made_and_looked_at_with_the_installed_tool(installed: Path, tmp_path: Path) -> None:
    make_shape("class_folders", tmp_path / "data", train=24, test=12)
    done = run(installed, tmp_path, "init", "plants", "--data", "data", "--yes", "--slug", "plants-2026")
    assert done.returncode == 0, done.stderr
    done = run(installed, tmp_path / "plants", "look", "--no-duplicates")
    assert done.returncode == 0 and "Black-grass (8)" in done.stdout, done.stderr
    assert (tmp_path / "plants/look.html").read_text(encoding="utf-8").count("<figure>") == 20


@pytest.mark.slow
def test_the_installed_tool_walks_from_a_download_to_a_rehearsed_kernel(installed: Path, tmp_path: Path) -> None:
    perfect = make_shape("class_folders", tmp_path / "data")
    assert run(installed, tmp_path, "init", "plants", "--data", "data", "--yes").returncode == 0
    done = run(installed, tmp_path, "recipe", "plants", "--quick", "--keyring", "ring")
    assert done.returncode == 0, done.stderr
    submission = Path(done.stdout.splitlines()[-1].removeprefix("submission "))
    found = pd.read_csv(submission, dtype=str)
    assert found["file"].tolist() == perfect["file"].tolist()
    assert (found["species"] == perfect["species"]).mean() > 0.6
    done = run(installed, tmp_path / "plants", "check-submission", submission)
    assert (done.returncode, done.stdout.splitlines()[-1][:4]) == (0, "ok: "), done.stdout
