"""Four folds on a cluster of two workers of this machine, against one fold after the other.

    python benchmarks/cluster.py [--items 1200] [--epochs 6] [--arch resnet10t] [--size 48] [--rounds 1]

Both are `foldpack train` as a user runs it, on scikit-learn's digits, the starts of all processes included; the two
take turns. Printed are epochs an hour by the clock, their ratio, and how busy the machine was: other processes change
these numbers much. With N cores one process has N threads, and each of two workers N / 2, so more than 2 is not to be
had on a CPU, and less than 1 would mean that a cluster is of no use there; with a GPU for each worker 2 is the aim.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from foldpack.commands.recipe import make_recipe_folds
from foldpack.competitions.digits_source import write_digits
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.settings.run import config_text, parse_config

FOLDS = 4


def prepare(root: Path, options: argparse.Namespace) -> None:
    """A competition, its folds, and a run."""
    write_digits(root / "data", root / "answers.csv", options.items)
    wanted = FoldsConfig(kind="stratified", count=FOLDS)
    make_recipe_folds(RecipeConfig(name="bench", competition="digits", folds=wanted, runs=["-"]), root / "data",
                      root / "folds.csv", lambda line: None)
    config = parse_config({"run": "bench", "competition": "digits", "net": {"arch": options.arch, "size": options.size},
                           "loss": {"name": "cross_entropy"}, "metric": "accuracy", "epochs": options.epochs,
                           "augment": {"affine": 0.5}, "images": "disk"}, "bench")
    (root / "bench.yml").write_text(config_text(config))


def seconds(root: Path, name: str, *more: str) -> float:
    """That a training takes."""
    started = time.monotonic()
    places = ["--data", root / "data", "--folds", root / "folds.csv", "--runs", root / name]
    subprocess.run([sys.executable, "-m", "foldpack.commands.main", "train", root / "bench.yml", *places, *more],
                   check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--arch", default="resnet10t")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, options)
        for number in range(options.rounds):
            alone = seconds(root, f"alone{number}")
            both = seconds(root, f"cluster{number}", "--cluster", "local:2")
            rates = [3600 * FOLDS * options.epochs / each for each in (alone, both)]
            ratios.append(alone / both)
            print(f"one after the other {rates[0]:,.0f} epochs/hour, two workers {rates[1]:,.0f}: {ratios[-1]:.2f} "
                  f"times; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"median {statistics.median(ratios):.2f} times")


if __name__ == "__main__":
    main()
