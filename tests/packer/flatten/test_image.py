"""Packed kernels under the Kaggle image's own versions: `make test-image`. Without that environment all is skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from multilabel_place import make_place
from small_house import OWNER, PROJECT, House

from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import read_spec, write_spec
from packer.build.kernel_folder import Build, build_kernel
from packer.image.image import kaggle_image
from packer.image.image_env import KERNEL_PACKAGES
from packer.rehearse.process import BLOCKED, SANDBOX, lay_out_inputs
from packer.rehearse.verdict import rehearse_build

IMAGE_PYTHON = os.environ.get("FOLDPACK_IMAGE_PYTHON", "")
# Probabilities of two builds of torch, numpy and Pillow on one CPU: the same networks, other kernels of the matrix
# products and, before all, another release of the decoder that shrinks the images.
TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(not IMAGE_PYTHON, reason="no environment of the Kaggle image; run `make test-image`")


@dataclass(frozen=True)
class Packed:
    """One packed kernel of the tests and what it predicts for."""

    build: Build
    data: Path

    def probs(self, python: str, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
        """(n, C) float32 probabilities and the submission that the script makes under an interpreter."""
        inputs = lay_out_inputs(folder, (self.build.spec.slug, self.data), {self.build.dataset: self.build.weights})
        (folder / "empty").mkdir()
        command = [python, "-I", str(SANDBOX), BLOCKED, str(self.build.script), "--input", str(inputs), "--output",
                   str(folder / "output"), "--probs", str(folder / "probs.npy")]
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
                if name in os.environ}
        done = subprocess.run(command, cwd=folder / "empty", env=kept, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        submission = pd.read_csv(folder / "output" / "submission.csv", dtype=str, keep_default_na=False)
        return np.load(folder / "probs.npy"), submission


@pytest.fixture(scope="module", params=["multiclass", "multilabel"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, house: House) -> Packed:
    """Every kind of kernel that the tests pack."""
    if request.param == "multiclass":
        return Packed(house.build, house.data)
    root = tmp_path_factory.mktemp("image")
    place = make_place(root / "place")
    with Keyring.editing(root / "keyring") as ring:
        build = build_kernel(place / "multi.yml", PROJECT / "src", place / "runs", root / "build", OWNER, ring)
    return Packed(build, place / "data")


def test_the_environment_has_the_images_versions() -> None:
    code = ("import importlib.metadata, json, sys; "
            "print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))")
    names = [*KERNEL_PACKAGES, "pydantic-core", "typing-extensions", "huggingface-hub"]
    found = json.loads(subprocess.check_output([IMAGE_PYTHON, "-I", "-c", code, *names], text=True))
    versions = kaggle_image().versions
    assert found == {name: versions[name].partition("+")[0] for name in names}


def test_arrays_are_ours(packed: Packed, tmp_path: Path) -> None:
    ours, answers = packed.probs(sys.executable, tmp_path / "ours")
    theirs, submission = packed.probs(IMAGE_PYTHON, tmp_path / "theirs")
    assert ours.shape == theirs.shape and theirs.dtype == np.float32
    difference = float(np.abs(ours - theirs).max())
    print(f"{packed.build.spec.last.outputs.link}: largest difference {difference:.2g} over {ours.shape}")
    assert difference <= TOLERANCE
    assert answers.equals(submission)


def test_a_rehearsal_passes(packed: Packed, tmp_path: Path) -> None:
    report = rehearse_build(packed.build, packed.data, tmp_path, python=Path(IMAGE_PYTHON))
    assert report.ok, [check for check in report.checks if not check.ok]


def test_keys_in_a_dataset_of_their_own(house: House, tmp_path: Path) -> None:
    """The image's older cryptography reads the same keys file."""
    apart = read_spec(house.ensemble).model_copy(update={"name": "apart", "keys": "dataset"})
    write_spec(tmp_path / "apart.yml", apart)
    shutil.copytree(house.runs, tmp_path / "runs")
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(tmp_path / "apart.yml", PROJECT / "src", tmp_path / "runs", tmp_path / "build", OWNER,
                             ring)
    report = rehearse_build(build, house.data, tmp_path / "out", python=Path(IMAGE_PYTHON))
    assert report.ok, [check for check in report.checks if not check.ok]
