"""A kernel of networks whose weights come from fixed seeds, without training: its answers are known for all time.

    python -c "import sys; sys.path.append('tests'); import fixed_networks; fixed_networks.main()"

writes tests/vectors/kernel/submission.csv; it was run once, and the file is never made again.

An image is asked for only where the best class leads by more than MARGIN, so that no processor changes the answers.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from small_house import PROJECT, competition_of, load_entry

from foldpack.competitions.adapters import get_competition
from foldpack.competitions.digits_source import write_digits
from foldpack.data.geometry import CanvasKind
from foldpack.files import sha256_file
from foldpack.keyring.keyring import Keyring
from foldpack.models.checkpoint import CheckpointInfo, save_checkpoint
from foldpack.models.classifier import build_classifier, normalise
from foldpack.predict.canvas import decode_items
from foldpack.settings.ensemble import parse_spec, spec_to_dict, write_spec
from foldpack.settings.network import NetConfig
from packer.build.kernel_folder import Build, build_kernel
from packer.rehearse.process import lay_out_inputs

VECTOR = Path(__file__).parent / "vectors" / "kernel" / "submission.csv"
DIGITS = get_competition("digits")
COUNT = 900  # of which a fifth are test images
MARGIN = 1e-3
CLASSES = [str(k) for k in range(10)]
RUNS = {  # a shape for each; version 1 of all formats, as they were when the vector was made
    "first": {"arch": "test_resnet", "views": ["identity", "hflip"], "merge": "mean", "weight": 0.6},
    "second": {"arch": "test_efficientnet", "views": ["identity", "rot90", "vflip"], "merge": "logit_mean",
               "weight": 0.4},
}


def seeded_weights(label: str, net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights that depend on a label and the tensors' names only; normalisation does nothing."""
    weights = {}
    for name, tensor in net.state_dict().items():
        seed = int.from_bytes(hashlib.sha256(f"{label} {name}".encode()).digest()[:8], "big")
        if tensor.ndim < 2:
            filled = np.full(tensor.shape, float(name.endswith(("running_var", "weight"))))
        else:
            fan_in = max(1, tensor[0].numel())
            filled = np.random.default_rng(seed).normal(size=tuple(tensor.shape)) * np.sqrt(2 / fan_in)
        weights[name] = torch.from_numpy(np.asarray(filled)).to(tensor.dtype)
    return weights


def spread_logits(net: torch.nn.Module, weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> None:
    """Set the last layer so that its logits have mean 0 and deviation 2 over some images."""
    net.load_state_dict(weights)
    with torch.inference_mode():
        logits = net.eval()(pixels)
    last = [name for name in weights if name.endswith(".weight")][-1].removesuffix(".weight")
    scale = 2 / logits.std(dim=0)
    weights[f"{last}.weight"] *= scale[:, None]
    weights[f"{last}.bias"] = -logits.mean(dim=0) * scale


def make_run(folder: Path, run: str, pixels: torch.Tensor) -> dict:
    """Two folds of checkpoints and what is known of them; returns the member of the spec."""
    facts = RUNS[run]
    config = NetConfig(arch=str(facts["arch"]), size=32)
    folds = []
    for fold in range(2):
        net = build_classifier(config, len(CLASSES))
        weights = seeded_weights(f"{run} {fold}", net)
        spread_logits(net, weights, normalise(pixels, config))
        info = CheckpointInfo(run=run, fold=fold, epoch=0, score=0.5, n_classes=len(CLASSES), net=config,
                              config_sha256="1" * 64, folds_sha256="2" * 64, seconds_per_image=1e-4)
        save_checkpoint(folder / run / f"fold{fold}.safetensors", weights, info)
        folds.append({"fold": fold, "sha256": sha256_file(folder / run / f"fold{fold}.safetensors")})
    meta = {"version": 1, "run": run, "competition": "digits", "task": "multiclass", "classes": CLASSES,
            "prior": [0.1] * 10, "size": 32, "views": facts["views"], "merge": facts["merge"], "metric": "accuracy",
            "score": 0.5, "folds": [{**fold, "items": 1, "score": 0.5, "epoch": 0} for fold in folds],
            "seconds_per_image": 1e-4, "config_sha256": "1" * 64, "folds_sha256": "2" * 64, "oof_sha256": "3" * 64,
            "targets_sha256": "4" * 64, "versions": {}}
    (folder / run / "meta.json").write_text(json.dumps(meta))
    return {"run": run, "weight": facts["weight"], "views": facts["views"], "merge": facts["merge"], "size": 32,
            "seconds_per_image": 1e-4, "folds": folds}


def make_kernel(root: Path) -> tuple[Build, dict[str, str]]:
    """Write images, checkpoints, ensemble and keyring, and pack -> the build, and its keys by sealed file."""
    write_digits(root / "data", root / "answers.csv", COUNT)
    pixels = torch.from_numpy(decode_items(DIGITS.test(root / "data"), CanvasKind(32), 2).pixels)
    members = [make_run(root / "runs", run, pixels) for run in RUNS]
    spec = {"version": 1, "name": "fixed", "competition": "digits", "slug": "foldpack-digits", "task": "multiclass",
            "metric": {"name": "accuracy", "oof": 0.5}, "blend": {"space": "logit"}, "classes": CLASSES,
            "prior": [0.1] * 10, "members": members}
    write_spec(root / "ensembles" / "fixed.yml", parse_spec(spec))
    with Keyring.editing(root / "keys") as ring:
        build = build_kernel(root / "ensembles" / "fixed.yml", PROJECT / "src", root / "runs", root / "build",
                             "someone", ring)
        entries = json.loads((root / "build" / "sealed" / "index.json").read_text())["files"].values()
        return build, {each["file"]: bytes(ring.data_key(each["file_id"])).hex() for each in entries}


def run_kernel(root: Path, ids: list[str], *arguments: str) -> Path:
    """Run the kernel in this process on some of the images -> the folder of its output."""
    build, keys = make_kernel(root)
    asked = competition_of(root / "asked", root / "data" / "test", ids)
    inputs = lay_out_inputs(root, (DIGITS.slug, asked), {build.dataset: build.weights})
    code = load_entry().main(spec_to_dict(build.spec), keys, [
        "--input", str(inputs), "--output", str(root / "output"), "--hours", "20", *arguments])
    assert code == 0
    return root / "output"


def main() -> None:
    """Write the vector: once without the images whose best class leads by less than MARGIN."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_digits(root / "data", root / "answers.csv", COUNT)
        ids = sorted(path.stem for path in (root / "data" / "test").iterdir())
        output = run_kernel(root, ids, "--probs", str(root / "probs.npy"))
        ranked = np.sort(np.load(root / "probs.npy"), axis=1)
        table = pd.read_csv(output / "submission.csv", dtype=str)
        kept = table[ranked[:, -1] - ranked[:, -2] > 2 * MARGIN]
        print(f"{len(kept)} of {len(table)} images, answers {kept['label'].value_counts().to_dict()}")
        VECTOR.parent.mkdir(exist_ok=True)
        kept.to_csv(VECTOR, index=False, lineterminator="\n")
