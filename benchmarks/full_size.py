"""One real step of each run of a recipe at its own resolution and batch size, on made-up images: does it fit?

    python benchmarks/full_size.py [--configs configs/imet] [--run NAME] [--classes 1103] [--limit 20] [--accelerated]
    python benchmarks/full_size.py --configs configs/whale --classes 5005

For each run, in a process of its own: the images, as PNGs of the size that its canvas has, are decoded, cropped and
augmented; the network learns from one whole batch and predicts two images under the run's views. Printed are the
seconds and the peak of its memory, images and libraries included. Exit code 1 where one takes more than the limit in
GB, or its loss is no number. Weights are random: none are downloaded. Without --accelerated it is done on the CPU, in
float32, where half precision saves nothing.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.data.geometry import canvas_kind
from foldpack.data.items import whole_images
from foldpack.settings.network import StartFrom, height_width
from foldpack.settings.recipe import read_recipe
from foldpack.settings.run import RunConfig, read_config
from foldpack.train.dataset import TrainingSet
from foldpack.train.images.source import open_images
from foldpack.train.loop.training import FoldTraining

LABELS = 4  # of an image
IMAGES = 2  # of an identity
PREDICTED = 2


def here(config: RunConfig, accelerated: bool) -> RunConfig:
    """The same run without what this machine may not have: weights of the hub, half precision."""
    net = config.net.model_copy(update={"pretrained": StartFrom()})
    changes = {"net": net, "workers": 0, "images": "memory"}
    return config.model_copy(update=changes if accelerated else {**changes, "precision": "no", "device": "cpu"})


def made_up(config: RunConfig, classes: int, folder: Path) -> TrainingSet:
    """A batch to learn from in fold 1, and two images to predict in fold 0; a third wider than the canvas is high."""
    dice = np.random.default_rng(0)
    count = config.batch_size // (1 + len(config.augment.identity_flips)) + PREDICTED  # flipped ones are learned too
    high, _ = height_width(config.net.canvas or config.net.size)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(dice.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize((high * 4 // 3, high), Image.Resampling.BILINEAR).save(path)
    items = whole_images([path.stem for path in paths], paths)
    images = open_images(items, canvas_kind(config.net), "memory", folder, lambda line: None)
    names, fold = [str(k) for k in range(classes)], (np.arange(count) >= PREDICTED).astype(np.int64)
    if config.task == "embed":
        identities = np.repeat(dice.choice(classes - 1, -(-count // IMAGES), replace=False), IMAGES)[:count]
        return TrainingSet(items.ids, images.pixels, identities, fold, names, "embed", none=True)
    targets = np.zeros((count, classes), dtype=bool)
    for row in targets:
        row[dice.choice(classes, LABELS, replace=False)] = True
    return TrainingSet(items.ids, images.pixels, targets, fold, names, "multilabel")


def step(path: Path, classes: int, accelerated: bool) -> None:
    """Learn and predict; print loss, seconds and peak."""
    config = here(read_config(path), accelerated)
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        training = FoldTraining(config, made_up(config, classes, Path(name)), 0)
        loss = training.epoch(0)
        learned = time.perf_counter()
        score = training.evaluate(0).score
        ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    weights = sum(one.numel() for one in training.plain.parameters()) / 1e6
    print(f"{loss} {peak} {weights:.1f} million weights, batch {config.batch_size} at {config.net.size} px: "
          f"{learned - started:.0f} s, {ended - learned:.0f} s to predict {PREDICTED} images; "
          f"{training.progress.updates} step, loss {loss:.4f}, score {score:.3f}, peak {peak:.1f} GB")


def main() -> int:
    """Run the configurations one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=Path, default=Path("configs/imet"), help="folder of a recipe")
    parser.add_argument("--run", action="append", default=[], help="only this one; may come again")
    parser.add_argument("--classes", type=int, default=1103)
    parser.add_argument("--limit", type=float, default=20.0, help="GB")
    parser.add_argument("--accelerated", action="store_true", help="on a GPU, where there is one, as configured")
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.classes, options.accelerated)
        return 0
    good = True
    recipe, _ = read_recipe(options.configs.parent, options.configs.name)
    for run in options.run or recipe.runs:
        command = [sys.executable, __file__, "--step", str(options.configs / f"{run}.yml"),
                   "--classes", str(options.classes), *(["--accelerated"] if options.accelerated else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{run}: ended with {done.returncode}\n{done.stderr[-1500:]}", flush=True)
            good = False
            continue
        loss, peak, text = done.stdout.splitlines()[-1].split(" ", 2)
        good &= math.isfinite(float(loss)) and float(peak) < options.limit
        print(f"{run}: {text}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
