"""Pages with blobs, and an ensemble of two stages: `page_project.py` finds the blobs, a classifier reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from page_project import SHADES, ShadeNet
from PIL import Image

from foldpack.models.checkpoint import CheckpointInfo, save_checkpoint
from foldpack.models.classifier import build_classifier
from foldpack.settings.network import Geometry, NetConfig

SIDE = 64  # of a page, pixels
PAGES = {"many": 12, "none": 0, "one": 1, "few": 3, "blank": 0, "last": 2}  # blobs
FOLDS = 2
PROJECT_FILE = "pages.py"  # what page_project.py is called in a project; as a module of its own
TASK, ADAPTER, NETWORK = (f"{PROJECT_FILE}:{name}" for name in ("Blobs", "LINES", "ShadeNet"))


def nets(side: int = SIDE) -> dict[str, NetConfig]:
    """The network of each run. side: of a page."""
    return {"find": NetConfig(arch="test_resnet", size=side),
            "read": NetConfig(arch=NETWORK, size=32, geometry=Geometry(kind="box"))}


def draw_pages(data: Path, pages: dict[str, int] = PAGES, side: int = SIDE) -> dict[str, list[str]]:
    """A competition's folder of these pages, id -> blobs. Returns what is to be read on each."""
    (data / "test").mkdir(parents=True)
    pd.DataFrame({"id": list(pages), "label": "?"}).to_csv(data / "sample_submission.csv", index=False)
    return {page: draw_page(data / "test" / f"{page}.png", blobs, side) for page, blobs in pages.items()}


def draw_page(path: Path, blobs: int, side: int = SIDE) -> list[str]:
    """White, with squares of 4 pixels in rows, every second one black, the others grey. What they are, in order."""
    page = np.full((side, side), 255, np.uint8)
    per_row = side // 5
    for number in range(blobs):
        y, x = 5 * (number // per_row) + 1, 5 * (number % per_row)
        page[y : y + 4, x : x + 4] = 0 if number % 2 else 100
    Image.fromarray(page).save(path)
    return [SHADES[number % 2] for number in range(blobs)]


def save_net(path: Path, run: str, fold: int, net: NetConfig) -> None:
    """The checkpoint of a fold, never trained."""
    torch.manual_seed(fold)
    info = CheckpointInfo(run=run, fold=fold, epoch=0, score=0.5, n_classes=2, net=net, seconds_per_image=1e-4,
                          config_sha256="1" * 64, folds_sha256="2" * 64)
    make = ShadeNet if net.arch == NETWORK else None
    save_checkpoint(path, build_classifier(net, 2, make=make).state_dict(), info)


def member_of_net(run: str, net: NetConfig, folds: list[dict]) -> dict:
    """A run as a member, in plain data."""
    geometry = {} if net.geometry is None else {"geometry": net.geometry.model_dump(exclude_defaults=True)}
    network = {"network": net.arch} if net.arch == NETWORK else {}
    return {"run": run, "weight": 1.0, "views": ["identity"], "size": net.size, **geometry, **network,
            "seconds_per_image": 1e-4, "folds": folds}


def spec_of(members: dict[str, dict], **more: object) -> dict:
    """The ensemble of these members, by run, in plain data."""
    stages = [
        {"name": "find", "task": TASK, "outputs": {"kind": "boxes", "names": ["blob"], "prior": [1.0], "most": 1200},
         "members": [members["find"]], "fuse": {"kind": "boxes"}, "decision": {"kind": "hand_on", "most": 1200}},
        {"name": "read", "task": "classify", "items": "find",
         "outputs": {"kind": "classes", "link": "softmax", "names": SHADES, "prior": [0.5, 0.5]},
         "members": [members["read"]], "fuse": {"kind": "scores"}, "decision": {"kind": "class"}}]
    return {"version": 2, "name": "two", "competition": ADAPTER, "slug": "lines",
            "metric": {"name": "shades_right", "oof": 0.5, "answer": "class"}, "stages": stages, **more}
