"""From an ensemble YAML to `build/<name>/`: the packed kernel, its metadata, and the sealed weights to upload."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from foldpack.competitions.registry import get_competition
from foldpack.files import write_atomic
from foldpack.keyring import Keyring
from foldpack.predict.views import require_views
from foldpack.spec import EnsembleSpec, read_spec, spec_to_dict, write_spec
from packer.pack import inject_keys, pack_entry, source_commit
from packer.stage import SealedStore, lay_out_keys, lay_out_weights, seal_boosters, seal_members

ENTRY_OF_TASK = {"multiclass": "classify.py", "multilabel": "classify.py"}
NO_OWNER = "your-kaggle-name"


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

    @property
    def dataset(self) -> str:
        """The slug of the weights dataset."""
        return self.datasets[0]


def build_kernel(spec_path: Path, project: Path, runs: Path, build: Path, owner: str, keyring: Keyring) -> Build:
    """Seal, pack and write everything. Nothing of an earlier build is touched before the pack has succeeded.

    project: the folder with `src/` and `kernels/`. Raises SpecError, DataError, StageError, PackError, SealedError.
    """
    spec = read_spec(spec_path)
    get_competition(spec.competition)
    for member in spec.members:
        require_views(member.views)
    store = SealedStore(build / "sealed", keyring)
    sealed_spec, keys = seal_members(spec, runs, store)
    sealed_spec, booster_keys = seal_boosters(sealed_spec, spec_path.with_suffix(""), store)
    keys |= booster_keys
    entry = project / "kernels" / ENTRY_OF_TASK[spec.task]
    packed = pack_entry(entry, project / "src", "foldpack", spec=spec_to_dict(sealed_spec),
                        command=f"./deploy_kernel.py {Path(*spec_path.parts[-2:]).as_posix()}",
                        commit=source_commit(project, [project / "src", project / "kernels"]))
    folder = build / spec.name
    datasets = [f"{owner}/{dataset_name(spec.name)}"]
    lay_out_weights(sealed_spec, store, folder / "weights", datasets[0])
    if spec.keys == "dataset":
        datasets.append(f"{owner}/{dataset_name(spec.name, 'keys')}")
        lay_out_keys(keys, folder / "keys", datasets[1])
        keys = {}
    elif (folder / "keys").exists():
        shutil.rmtree(folder / "keys")
    if spec.wheels is not None:
        datasets.append(spec.wheels.dataset)
    script, keyless = folder / f"{spec.name}.py", folder / f"{spec.name}.keyless.py"
    write_atomic(keyless, packed.text)
    write_atomic(script, inject_keys(packed.text, keys), mode=0o600)
    write_spec(folder / "spec.yml", sealed_spec)
    metadata = kernel_metadata(spec, owner, datasets, script.name)
    write_atomic(folder / "kernel-metadata.json", json.dumps(metadata, indent=1) + "\n")
    return Build(folder, script, keyless, folder / "weights", datasets, packed.pack_id, sealed_spec,
                 packed.report.warnings)


def dataset_name(name: str, what: str = "weights") -> str:
    """The weights or keys dataset of an ensemble: lower case, 6 to 50 characters, as Kaggle wants it."""
    return f"{kaggle_slug(name, 42)}-{what}"


def kaggle_slug(name: str, longest: int) -> str:
    """Letters, digits and single dashes, none at an end; what Kaggle makes of a title. longest: in characters."""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "-".join(words)[:longest].rstrip("-")


def kernel_metadata(spec: EnsembleSpec, owner: str, datasets: list[str], code_file: str) -> dict[str, object]:
    """`kernel-metadata.json`. Private and offline are always written out: the client's own defaults vary."""
    slug = f"{kaggle_slug(spec.name, 43)}-kernel"
    return {
        "id": f"{owner}/{slug}",
        "title": slug.replace("-", " "),
        "code_file": code_file,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": datasets,
        "competition_sources": [spec.slug],
        "kernel_sources": [],
        "model_sources": [],
    }


def default_owner() -> str | None:
    """The Kaggle user name of this machine's credentials, if there is one to be found without the network."""
    if name := os.environ.get("KAGGLE_USERNAME"):
        return name
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    try:
        name = json.loads((folder / "kaggle.json").read_text(encoding="utf-8"))["username"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name else None
