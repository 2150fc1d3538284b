"""The project's own kernels keep the rules and pack into scripts that keep the project's style."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from packer.image import kaggle_image
from packer.keys import SIZE_LIMIT
from packer.pack import image_needs, pack_entry
from packer.rules import check_project
from packer.where import verify_script

PROJECT = Path(__file__).parents[2]
KERNELS = sorted((PROJECT / "kernels").glob("*.py"))


def test_all_kernels_keep_the_rules() -> None:
    assert KERNELS and [str(each) for each in check_project(PROJECT / "src", "foldpack", KERNELS)] == []


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.stem)
def test_a_kernel_packs_and_keeps_the_style(kernel: Path, tmp_path: Path) -> None:
    spec: dict[str, object] = {"name": "best", "members": [{"run": "a", "weight": 1.0}], "note": "long " * 60}
    result = pack_entry(kernel, PROJECT / "src", "foldpack", spec=spec)
    for grammar in ((3, 10), (3, 11), (3, 12), (3, 13)):
        ast.parse(result.text, feature_version=grammar)
    assert result.report.size < SIZE_LIMIT // 4 and not result.report.warnings
    assert set(image_needs(result.report, kaggle_image())) == set(result.report.packages)
    assert verify_script(result.text, PROJECT).identical
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    (tmp_path / "script.py").write_text(result.text)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "script.py"]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "noqa" not in result.text
