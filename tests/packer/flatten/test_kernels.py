"""The project's own kernels keep the rules and pack into scripts that keep the project's style."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_house import House, load_entry

from foldpack.kernel.options import kernel_options
from packer.build.pack import pack_entry
from packer.build.where import verify_script
from packer.flatten.rules import check_project
from packer.flatten.script_keys import SIZE_LIMIT
from packer.image.image import kaggle_image
from packer.rehearse.process import BLOCKED, SANDBOX, lay_out_inputs
from packer.rehearse.sandbox import INPUT_VARIABLE, OUTPUT_VARIABLE
from packer.rehearse.verdict import rehearse_build

PROJECT = Path(__file__).parents[3]
KERNELS = sorted((PROJECT / "kernels").glob("*.py"))


def test_all_kernels_keep_the_rules() -> None:
    assert KERNELS and [str(each) for each in check_project(PROJECT / "src", "foldpack", KERNELS)] == []


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.stem)
def test_a_kernel_packs_and_keeps_the_style(kernel: Path, tmp_path: Path) -> None:
    spec: dict[str, object] = {"name": "best", "members": [{"run": "a", "weight": 1.0}], "note": "long " * 60}
    result = pack_entry(kernel, PROJECT / "src", "foldpack", spec=spec)
    for grammar in ((3, 10), (3, 11), (3, 12), (3, 13)):
        ast.parse(result.text, feature_version=grammar)
    assert result.report.size < 0.6 * SIZE_LIMIT and not result.report.warnings
    assert set(result.report.packages) <= set(kaggle_image().versions)
    assert verify_script(result.text, PROJECT / "src").identical
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    (tmp_path / "script.py").write_text(result.text)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "script.py"]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "noqa" not in result.text


@pytest.fixture(scope="module")
def package_probs(house: House, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """(72, 10) float32: what the entry predicts from the package itself, in this process."""
    folder = tmp_path_factory.mktemp("package")
    inputs = lay_out_inputs(folder, (house.spec.slug, house.data), {house.build.dataset: house.build.weights})
    arguments = ["--input", str(inputs), "--output", str(folder / "output"), "--probs", str(folder / "probs.npy")]
    assert load_entry().main(house.kernel_spec(), house.keys(), arguments) == 0
    return np.load(folder / "probs.npy")


def test_a_kernel_with_workers_gives_the_packages_arrays(house: House, package_probs: np.ndarray,
                                                         tmp_path: Path) -> None:
    """`python -I`, an empty folder, two worker processes that have only the script: the same bits on a CPU."""
    inputs = lay_out_inputs(tmp_path, (house.spec.slug, house.data), {house.build.dataset: house.build.weights})
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-I", str(SANDBOX), BLOCKED, str(house.build.script), "--input", str(inputs),
               "--output", str(tmp_path / "output"), "--probs", str(tmp_path / "probs.npy"), "--workers", "2"]
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
            if name in os.environ}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    probs = np.load(tmp_path / "probs.npy")
    assert probs.dtype == np.float32 and np.array_equal(probs, package_probs)
    assert not list((tmp_path / "empty").iterdir())
    assert done.stdout.count("now the libraries are imported") == 1  # by no worker


def test_the_real_kernel_passes_its_rehearsal(house: House, tmp_path: Path) -> None:
    report = rehearse_build(house.build, house.data, tmp_path)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.rows == 40 and report.images == 72 and report.peak > 50 << 20


def test_a_kernel_ignores_arguments_on_kaggle_but_knows_a_rehearsals_folders(monkeypatch) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    found = kernel_options(["-f", "/some/kernel.json", "--workers", "7"], "small", 1.0)
    assert (found.input, found.output, found.workers) == (Path("/kaggle/input"), Path("/kaggle/working"), 0)
    monkeypatch.setenv(INPUT_VARIABLE, "/some/input")
    monkeypatch.setenv(OUTPUT_VARIABLE, "/some/output")
    found = kernel_options([], "small", 1.0)
    assert (found.input, found.output) == (Path("/some/input"), Path("/some/output"))
