"""From an ensemble YAML to `build/<name>/`: the packed kernel, its metadata, and the sealed weights to upload."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.protocol import Competition
from foldpack.data.rows import Rows
from foldpack.ensemble.answers import answers_of, prior_rows
from foldpack.files import write_atomic
from foldpack.keyring.keyring import Keyring
from foldpack.predict.views import parse_views
from foldpack.settings.ensemble import AnswerTableSpec, EnsembleSpec, read_spec, spec_to_dict, write_spec
from packer.build.manifest import SIZE_LIMIT, Staged, finish_dataset, split_dataset
from packer.build.notebook import render_notebook
from packer.build.entry import ensemble_layout
from packer.build.pack import inject_keys, pack_layout, source_commit
from packer.build.stage import SealedStore, lay_out_keys, lay_out_weights, seal_boosters, seal_members

NO_OWNER = "your-kaggle-name"
DEFAULT_ACCELERATOR = "NvidiaTeslaT4"
HASH_DIGITS = 8  # of the hash in a name that was cut


@dataclass(frozen=True)
class Target:
    """What the kernel is to be on Kaggle."""

    accelerator: str = DEFAULT_ACCELERATOR  # Kaggle's machine_shape
    notebook: bool = False
    dataset_limit: int = SIZE_LIMIT  # bytes; larger weights become several datasets


@dataclass(frozen=True)
class Build:
    """What lies in `build/<name>/` after packing."""

    folder: Path
    script: Path  # with its keys, mode 0600
    keyless: Path  # the same without keys: may be published
    weights: Path  # the dataset to upload
    datasets: list[str]  # slugs, owner/name: the weights first, then keys and wheels where there are such
    pack_id: str
    spec: EnsembleSpec
    warnings: list[str]  # of the packer, such as a script that is nearly too large
    staged: list[Staged] = field(default_factory=list)  # the datasets to upload: all but the wheels
    packages: list[str] = field(default_factory=list)  # distributions that the script imports

    @property
    def dataset(self) -> str:
        """The slug of the weights dataset."""
        return self.datasets[0]


def build_kernel(spec_path: Path, src: Path, runs: Path, build: Path, owner: str, keyring: Keyring,
                 target: Target | None = None) -> Build:
    """Seal, pack and write everything. Nothing of an earlier build is touched before the pack has succeeded.

    src: the folder that holds `foldpack`; what the ensemble names as FILE.py:NAME is taken from the folder that we stand
    in. Raises SpecError, DataError, StageError, PackError, SealedError.
    """
    target = target or Target()
    spec = read_spec(spec_path).model_copy(update={"history": None})  # scores must not change the pack
    spec = with_fallback(spec, find_adapter(spec.competition))
    for member in spec.members:
        parse_views(member.views, member)  # the kernel does not ask again
    store = SealedStore(build / "sealed", keyring)
    sealed_spec, keys = seal_members(spec, runs, store)
    sealed_spec, booster_keys = seal_boosters(sealed_spec, spec_path.with_suffix(""), store)
    keys |= booster_keys
    data = spec_to_dict(sealed_spec)
    packed = pack_layout(ensemble_layout(data, src, Path()), spec=data,
                         command=f"./deploy_kernel.py {Path(*spec_path.parts[-2:]).as_posix()}",
                         commit=source_commit(src.parent, [src]) if (src.parent / ".git").exists() else "")
    folder = build / spec.name
    script, keyless = folder / f"{spec.name}.py", folder / f"{spec.name}.keyless.py"
    keyed = inject_keys(packed.text, keys if spec.keys == "inline" else {})
    notebook = render_notebook(keyed, spec.name) if target.notebook else None
    staged = stage_datasets(sealed_spec, store, keys, folder, owner, target.dataset_limit)
    datasets = [each.slug for each in staged] + ([spec.wheels.dataset] if spec.wheels is not None else [])
    write_atomic(keyless, packed.text)
    write_atomic(script, keyed, mode=0o600)
    code_file = write_notebook(folder / f"{spec.name}.ipynb", notebook) or script.name
    write_spec(folder / "spec.yml", sealed_spec)
    metadata = kernel_metadata(spec, owner, datasets, code_file, target)
    write_atomic(folder / "kernel-metadata.json", json.dumps(metadata, indent=1) + "\n")
    return Build(folder, script, keyless, folder / "weights", datasets, packed.pack_id, sealed_spec,
                 packed.report.warnings, staged, packed.report.packages)


def with_fallback(spec: EnsembleSpec, competition: Competition) -> EnsembleSpec:
    """The ensemble with the columns that it answers, and the cells of a row of which nothing is known."""
    stage = spec.last
    unknown = prior_rows(stage.outputs, 1)
    if stage.items != "test":  # an image in which no box is known
        unknown = Rows(prior_rows(stage.outputs, 0).columns, np.zeros(2, dtype=np.int64))
    answers = answers_of(unknown, stage.decision, stage.outputs)
    filled = competition.fill(answers, [""], competition.made_up([""], stage))
    cells = {name: column[0] for name, column in filled.cells().items()}
    table = AnswerTableSpec(sample=competition.sample_csv, id_column=competition.id_column, columns=list(cells))
    return spec.model_copy(update={"table": table, "fallback": cells})


def stage_datasets(spec: EnsembleSpec, store: SealedStore, keys: dict[str, str], folder: Path, owner: str,
                   limit: int) -> list[Staged]:
    """Lay out the datasets to upload: the weights, in parts where they are too large, then the keys if apart."""
    slug = f"{owner}/{dataset_name(spec.name)}"
    lay_out_weights(spec, store, folder / "weights", slug)
    staged = [finish_dataset(part, name) for name, part in split_dataset(folder / "weights", slug, limit)]
    if spec.keys == "dataset":
        slug = f"{owner}/{dataset_name(spec.name, 'keys')}"
        lay_out_keys(keys, folder / "keys", slug)
        staged.append(finish_dataset(folder / "keys", slug, secret=True))
    elif (folder / "keys").exists():
        shutil.rmtree(folder / "keys")
    return staged


def write_notebook(path: Path, text: str | None) -> str | None:
    """Write the notebook, keys and all, readable by its owner only; remove an old one when there is none to write."""
    if text is None:
        path.unlink(missing_ok=True)
        return None
    write_atomic(path, text, mode=0o600)
    return path.name


def dataset_name(name: str, what: str = "weights") -> str:
    """The weights or keys dataset of an ensemble: lower case, 6 to 50 characters, as Kaggle wants it."""
    return f"{kaggle_slug(name, 42)}-{what}"


def kaggle_slug(name: str, longest: int) -> str:
    """Letters, digits and single dashes, none at an end; what Kaggle makes of a title. longest: in characters.

    Of a longer name the end is cut off and a hash of the whole takes its place, so that two names never become one.
    """
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    whole = "-".join(words)
    if len(whole) <= longest:
        return whole
    tail = f"-{hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]}"
    return whole[: longest - len(tail)].rstrip("-") + tail


def kernel_slug(name: str, notebook: bool = False) -> str:
    """The slug of an ensemble's kernel, at most 50 characters. A notebook has its own: no kernel changes its kind."""
    return f"{kaggle_slug(name, 41)}-notebook" if notebook else f"{kaggle_slug(name, 43)}-kernel"


def shares_slug(name: str, other: str) -> bool:
    """Whether two ensembles would have one slug on Kaggle for anything, such as `best_a` and `Best.a`."""
    return any(kaggle_slug(name, longest) == kaggle_slug(other, longest) for longest in (41, 42, 43))


def kernel_metadata(spec: EnsembleSpec, owner: str, datasets: list[str], code_file: str,
                    target: Target | None = None) -> dict[str, object]:
    """`kernel-metadata.json`. Private and offline are always written out: the client's own defaults vary."""
    target = target or Target()
    slug = kernel_slug(spec.name, target.notebook)
    return {
        "id": f"{owner}/{slug}",
        "title": slug.replace("-", " "),
        "code_file": code_file,
        "language": "python",
        "kernel_type": "notebook" if target.notebook else "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": target.accelerator,
        "dataset_sources": datasets,
        "competition_sources": [spec.slug],
        "kernel_sources": [],
        "model_sources": [],
    }
