"""A small project ready to deploy, and the stand-in that it deploys to: what the tests of the deploy share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_house import OWNER, House, only
from standin.client import Forker, Running
from standin.server import StandIn
from standin.sessions import Competition
from standin.state import DatasetVersion, KernelVersion

from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import EnsembleSpec, write_spec
from packer.build.kernel_folder import build_kernel

NAME = "tiny"
slow = pytest.mark.slow
KERNEL = f"{OWNER}/{NAME}-kernel"
WEIGHTS = f"{OWNER}/{NAME}-weights"
KEYS = f"{OWNER}/{NAME}-keys"
SUBMIT = ("--wait", "--submit", "-m", "first")
POLL = "0.01"  # seconds
# What a deploy imports before it looks at its arguments; nothing of it reads the environment.
DEPLOY_IMPORTS = ("typer", "rich.progress", "requests", "numpy", "pandas", "cryptography", "yaml", "pydantic",
                  "kagglesdk.kernels.types.kernels_api_service", "foldpack.commands.run_app",
                  "foldpack.keyring.keyring", "packer.deploy.journey")


@dataclass(frozen=True)
class Prepared:
    """A project whose weights are sealed, so that a deploy only packs and talks. Copied for each test."""

    folder: Path
    code: Path  # a copy of our code: a deploy names its commit, and nobody edits this copy between two deploys
    house: House
    spec: EnsembleSpec


def slow_but(kept: Sequence[object], values: Iterable[object]) -> list:
    """Parameters of a test of which only `kept` are run by default: each costs two deploys, a second of time each."""
    return [value if value in kept else pytest.param(*value, marks=slow) if isinstance(value, tuple)
            else pytest.param(value, marks=slow) for value in values]


def python_path(code: Path) -> str:
    """Where Python finds the copy before the installed code."""
    return os.pathsep.join([str(code), str(code / "src")])


def prepare(folder: Path, house: House, spec: EnsembleSpec, code: Path) -> Prepared:
    """Write `ensembles/tiny.yml`, a keyring, and a build in which the weights are sealed."""
    spec = spec.model_copy(update={"name": NAME}).with_last(plan=None)
    path = folder / "ensembles" / f"{NAME}.yml"
    write_spec(path, spec)
    with Keyring.editing(folder / "keys" / "keyring") as ring:
        build_kernel(path, code / "src", house.runs, folder / "build", OWNER, ring)
    shutil.rmtree(folder / "build" / NAME)
    return Prepared(folder, code, house, spec)


def small_spec(house: House) -> EnsembleSpec:
    """One net, one fold: one sealed file to upload."""
    return only(house.spec, "tiny_resnet", 0)


def accuracy_score(answers: Path):
    """A scoring function as Kaggle has one: refuses missing rows, gives the share of right labels."""

    def score(csv: Path) -> float:
        wanted, got = pd.read_csv(answers).set_index("id"), pd.read_csv(csv).set_index("id")
        if sorted(wanted.index) != sorted(got.index) or got["label"].isna().any():
            raise ValueError("Submission Scoring Error")
        return float((got["label"].reindex(wanted.index) == wanted["label"]).mean())

    return score


@dataclass
class Site:
    """A copy of the project, and a server."""

    folder: Path
    house: House
    code: Path
    standin: StandIn
    forker: Forker
    options: list[str] = field(default_factory=lambda: ["--no-rehearse"])
    changes: dict[str, str] = field(default_factory=dict)  # of the environment
    mode: int = 0o600  # of the credentials' file
    credentials: str = "key"  # in kaggle.json, or a "token" in its own file, or "none"

    @property
    def build(self) -> Path:
        """build/tiny/"""
        return self.folder / "build" / NAME

    @property
    def ensemble(self) -> Path:
        """The YAML that is deployed."""
        return self.folder / "ensembles" / f"{NAME}.yml"

    def environment(self) -> dict[str, str]:
        """What the deploy sees."""
        made = self.standin.environment(self.folder, token=self.credentials == "token")
        if self.credentials != "key":
            Path(made["HOME"], ".kaggle", "kaggle.json").unlink(missing_ok=True)
        if self.credentials == "none":
            Path(made["HOME"], ".kaggle", "access_token").unlink(missing_ok=True)
        for one in Path(made["HOME"], ".kaggle").iterdir():
            one.chmod(self.mode)
        return {**made, "PYTHONPATH": python_path(self.code), **self.changes}

    def words(self, *more: str) -> list[str]:
        """The arguments of `./deploy_kernel.py`."""
        return [f"ensembles/{NAME}.yml", "--runs", str(self.house.runs), "--build", "build", "--keyring",
                "keys/keyring", "--poll", POLL, *self.options, *more]

    def start(self, *more: str) -> Running:
        """Begin a deploy."""
        return self.forker.start(self.words(*more), self.environment(), self.folder,
                                 script=str(self.code / "deploy_kernel.py"))

    def deploy(self, *more: str) -> subprocess.CompletedProcess:
        """A whole deploy."""
        return self.start(*more).wait()

    def versions(self) -> list[KernelVersion]:
        """The kernel's versions on the server."""
        kernel = self.standin.kernels.get(KERNEL)
        return kernel.versions if kernel else []

    def dataset_versions(self, slug: str = WEIGHTS) -> list[DatasetVersion]:
        """A dataset's versions on the server."""
        dataset = self.standin.datasets.get(slug)
        return dataset.versions if dataset else []

    def journal(self) -> dict:
        """The deploy's journal."""
        return json.loads((self.build / "deploy.json").read_text())

    def is_right(self, version: KernelVersion) -> bool:
        """Whether a version has our source and is bound to the current version of each dataset, which holds our files.
        """
        newest = {slug: len(dataset.versions) for slug, dataset in self.standin.datasets.items()}
        source = (self.build / f"{NAME}.py").read_text(encoding="utf-8")
        return (self.standin.source(version) == source and version.datasets == newest
                and version.competitions == [self.competition] and self.holds_our_files())

    @property
    def competition(self) -> str:
        """The competition's slug."""
        return next(iter(self.standin.competitions))

    def holds_our_files(self) -> bool:
        """Whether the newest version of the weights dataset has the staged files, byte for byte."""
        staged = {one.name: digest(one) for one in (self.build / "weights").iterdir()
                  if one.name != "dataset-metadata.json"}
        blobs = self.dataset_versions()[-1].blobs
        return staged == {name: digest(self.standin.store.blob_path(token)) for name, token in blobs.items()}

    def problems(self, kernels: int = 1) -> list[str]:
        """What is not exactly once: a right kernel version, one dataset version, nothing else anywhere."""
        found = []
        if len(self.versions()) != kernels or set(self.standin.kernels) - {KERNEL}:
            found.append(f"kernels: { {slug: len(one.versions) for slug, one in self.standin.kernels.items()} }")
        elif not self.is_right(self.versions()[-1]):
            found.append(f"the kernel is wrong: {self.versions()[-1].datasets}")
        if {slug: len(one.versions) for slug, one in self.standin.datasets.items()} != {WEIGHTS: 1}:
            found.append(f"datasets: { {slug: len(one.versions) for slug, one in self.standin.datasets.items()} }")
        if self.standin.calls("CONNECT"):
            found.append("something wanted out to the internet")
        return found


def change_weights(site: Site, prepared: Prepared, fold: int = 1, **changes: object) -> None:
    """Let the ensemble be of the other fold of the same net."""
    other = only(prepared.house.spec, "tiny_resnet", fold)
    write_spec(site.ensemble, other.model_copy(update={"name": NAME, **changes}).with_last(plan=None))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_site(folder: Path, prepared: Prepared, forker: Forker, **server: object) -> Site:
    """A copy of the project and a server that is not started yet; use `site.standin` as a context manager."""
    for name in ("ensembles", "keys"):
        shutil.copytree(prepared.folder / name, folder / name)
    shutil.copytree(prepared.folder / "build", folder / "build", copy_function=shutil.copy2)
    slug = yaml.safe_load((folder / "ensembles" / f"{NAME}.yml").read_text()).get("kaggle") or prepared.spec.slug
    competition = Competition(prepared.house.data, accuracy_score(prepared.house.answers))
    standin = StandIn(folder / "kaggle", {slug: competition}, **server)  # type: ignore[arg-type]
    return Site(folder, prepared.house, prepared.code, standin, forker)
