"""Training against a bare PyTorch loop with the same network and loader, and its memory over the number of images.

    python benchmarks/train.py [--images 512] [--rounds 7] [--memory-images 1000 100000] [--only PART]

speed: images a second of an epoch against a loop of twelve lines that reads the same batches, and does no more with
them; the two take turns, and printed are the medians of the ratios of neighbours, in CPU seconds of the training
process, which other processes of the machine change little. The aim is at least 0.97.
timm: the same against what timm's own train script does: its data set, its loader without the prefetcher, which is for
GPUs, and its loop, with the same images, network, batch, crop, flip, optimiser and schedule. Both decode every image in
every epoch; a second line keeps ours decoded in memory, as it does by itself where there is room. The aim is at least
0.97 of it.
places: images a second of reading and augmenting alone, from memory, disk and stream.
memory: a process trains an epoch and predicts a fold out of so many images, from disk and decoded on the fly; printed
is its peak, and what one more image adds. The images are a thousand made-up JPEGs, again and again under other ids.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter
from torch import nn

from foldpack.data.geometry import canvas_kind
from foldpack.data.items import Items, whole_images
from foldpack.settings.run import ImagesMode, RunConfig, parse_config
from foldpack.settings.training.augment import AugmentConfig
from foldpack.settings.training.optim import OptimConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.images.source import open_images
from foldpack.train.loop.training import FoldTraining

AIM = 0.97
CPU = torch.device("cpu")
FILES = 1000
FOLDS = 5
MODES: tuple[ImagesMode, ...] = ("memory", "disk", "stream")


def made_up(folder: Path, count: int, side: int) -> Items:
    """So many items over at most a thousand JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(min(count, FILES))]
    dice = np.random.default_rng(0)
    for path in paths:
        coarse = Image.fromarray(dice.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BILINEAR).save(path, quality=90)
    return whole_images([str(number) for number in range(count)], [paths[number % FILES] for number in range(count)])


def run_config(arch: str, size: int, workers: int, batch: int, canvas: int | None = None) -> RunConfig:
    """A run of ten classes with the usual light augmentation."""
    return parse_config({
        "run": "bench", "competition": "digits", "net": {"arch": arch, "size": size, "canvas": canvas},
        "loss": {"name": "cross_entropy"}, "metric": "accuracy", "optim": {"schedule": "none"},
        "augment": {"hflip": 0.5, "affine": 0.5}, "batch_size": batch, "workers": workers}, "bench")


def training_set(items: Items, config: RunConfig, mode: ImagesMode, cache: Path) -> TrainingSet:
    """Ten classes in five folds."""
    images = open_images(items, canvas_kind(config.net), mode, cache, lambda line: None)
    rows = np.arange(len(items))
    return TrainingSet(items.ids, images.pixels, rows % 10, rows // 10 % FOLDS, list("0123456789"), "multiclass")


def bare_epoch(training: FoldTraining, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The same batches through the same kind of network, as anybody would write it."""
    mean = torch.tensor(training.config.net.mean).reshape(3, 1, 1)
    std = torch.tensor(training.config.net.std).reshape(3, 1, 1)
    net.train()
    for [(pixels, targets)] in training.loader:
        images = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        loss = nn.functional.cross_entropy(net(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def bench_speed(images: int, rounds: int) -> bool:
    """Print the ratio for two networks; whether the aim is met."""
    met = True
    for arch, size, workers in (("resnet18", 64, 0), ("tf_efficientnet_lite0", 96, 0), ("test_resnet", 64, 2)):
        config = run_config(arch, size, workers, 32)
        with tempfile.TemporaryDirectory() as name:
            training = FoldTraining(config, training_set(made_up(Path(name), images, 128), config, "memory",
                                                         Path(name)), 0)
            net = timm.create_model(arch, num_classes=10)
            optimizer = torch.optim.AdamW(net.parameters(), lr=config.optim.lr, weight_decay=0.05)
            spent: list[tuple[float, float]] = []
            for turn in range(rounds + 1):
                started = time.process_time()
                training.epoch(turn)
                between = time.process_time()
                bare_epoch(training, net, optimizer)
                spent.append((between - started, time.process_time() - between))
        ratio = statistics.median(bare / ours for ours, bare in spent[1:])  # the first turn warms up
        seen = len(training.rows) // 32 * 32 / statistics.median(ours for ours, _ in spent[1:])
        met &= ratio >= AIM
        print(f"speed: {arch} at {size} px, {workers} workers: {seen:.0f} images a CPU second, {ratio:.3f} of the "
              f"bare loop's (aim {AIM})")
    return met


def timm_loader(data: TrainingSet, rows: np.ndarray, files: list[Path], folder: Path, config: RunConfig) -> Any:
    """timm's loader over the same training images, by class in folders of links, as its train script makes it."""
    for row in rows.tolist():
        place = folder / str(data.targets[row])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{row}.jpg").symlink_to(files[row])
    augment, net = config.augment, config.net
    return create_loader(
        create_dataset("", root=str(folder), split="train", is_training=True), (3, net.size, net.size),
        config.batch_size, is_training=True, use_prefetcher=False, no_aug=False, re_prob=0.0, hflip=augment.hflip,
        scale=augment.crop_area, ratio=augment.crop_aspect, color_jitter=None, interpolation="bilinear",
        mean=tuple(net.mean), std=tuple(net.std), num_workers=config.workers, pin_memory=False, device=CPU)


def timm_epoch(loader: Any, net: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, epoch: int) -> None:
    """An epoch of timm's train script: what its `train_one_epoch` does where no option asks for more."""
    net.train()
    losses = AverageMeter()
    loss_of = nn.CrossEntropyLoss()
    updates = epoch * len(loader)
    for images, targets in loader:
        images, targets = images.to(CPU), targets.to(CPU)
        images = images.contiguous(memory_format=torch.channels_last)
        loss = loss_of(net(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        updates += 1
        losses.update(loss.item(), images.size(0))
        scheduler.step_update(num_updates=updates, metric=losses.avg)


def bench_timm(images: int, rounds: int) -> bool:
    """Print the ratios; whether the aim is met where both decode."""
    arch, size, canvas = "resnet18", 96, 128
    config = run_config(arch, size, 0, 32, canvas).model_copy(update={
        "augment": AugmentConfig(hflip=0.5, crop="resized", crop_area=[0.35, 1.0], crop_aspect=[0.75, 4 / 3]),
        "optim": OptimConfig(lr=1e-3, weight_decay=0.05, warmup_epochs=0), "epochs": rounds + 1})
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        items = made_up(Path(name) / "images", images, canvas)
        modes: tuple[ImagesMode, ...] = ("stream", "memory")
        for mode in modes:
            data = training_set(items, config, mode, Path(name))
            training = FoldTraining(config, data, 0)
            loader = timm_loader(data, training.rows, items.images, Path(name) / mode, config)
            net = timm.create_model(arch, num_classes=10).to(memory_format=torch.channels_last)
            optimizer = create_optimizer_v2(net, opt="adamw", lr=1e-3, weight_decay=0.05)
            scheduler, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=rounds + 1, min_lr=1e-6,
                                               step_on_epochs=False, updates_per_epoch=len(loader))
            spent: list[tuple[float, float]] = []
            for turn in range(rounds + 1):
                started = time.process_time()
                training.epoch(turn)
                between = time.process_time()
                timm_epoch(loader, net, optimizer, scheduler, turn)
                spent.append((between - started, time.process_time() - between))
            ratios[mode] = statistics.median(timms / ours for ours, timms in spent[1:])
            seen = len(training.rows) // 32 * 32 / statistics.median(ours for ours, _ in spent[1:])
            print(f"timm: {arch} at {size} px out of {canvas}, {mode}: {seen:.0f} images a CPU second, "
                  f"{ratios[mode]:.3f} of those of timm's train script (aim {AIM})")
    return ratios["stream"] >= AIM


def bench_places(images: int) -> None:
    """Print images a second of one pass over the batches."""
    with tempfile.TemporaryDirectory() as name:
        items = made_up(Path(name), images, 320)
        for mode in MODES:
            for workers in (0, os.cpu_count() or 1):
                config = run_config("test_resnet", 224, workers, 32)
                training = FoldTraining(config, training_set(items, config, mode, Path(name) / "cache"), 0)
                seen, passes = 0, []
                for _ in range(3):  # the first starts the workers
                    started, seen = time.perf_counter(), 0
                    for groups in training.loader:
                        seen += sum(len(pixels) for pixels, _ in groups)
                    passes.append(seen / (time.perf_counter() - started))
                print(f"places: {mode}, {workers} workers: {max(passes):.0f} images/s of 320 to 224 px")


def bench_memory(counts: list[int]) -> None:
    """Print the peak of each, and what one image more costs."""
    for mode in MODES[1:]:
        peaks = []
        for count in counts:
            command = [sys.executable, __file__, "--peak", mode, str(count)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            peaks.append(float(done.stdout.split()[0]))
            print(f"memory: {mode}, {count:,} images: {done.stdout.strip()}")
        grown = (peaks[-1] - peaks[0]) * 2**20 / max(1, counts[-1] - counts[0])
        held = canvas_kind(memory_config().net).most_bytes
        print(f"memory: {mode}: {grown:.0f} bytes more for each image, whose pixels are {held:,}")


def memory_config() -> RunConfig:
    """A small network, so that the time goes into reading."""
    return run_config("test_resnet", 32, 2, 64, canvas=64)


def peak_of(mode: ImagesMode, count: int) -> None:
    """Train an epoch and predict a fold; print the peak of this process and of the largest worker."""
    config = memory_config()
    with tempfile.TemporaryDirectory() as name:
        items = made_up(Path(name), count, 64)
        started = time.perf_counter()
        training = FoldTraining(config, training_set(items, config, mode, Path(name) / "cache"), 0)
        training.epoch(0)
        training.evaluate(0)
        spent = time.perf_counter() - started
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    del training  # ends the workers
    peaks[1] = max(peaks[1], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    print(f"{peaks[0]:.0f} MiB, a worker {peaks[1]:.0f} MiB, {spent:.0f} s")


def main() -> int:
    """Run the parts that were asked for; 1 where an aim is not met."""
    if "--peak" in sys.argv:
        peak_of(sys.argv[2], int(sys.argv[3]))  # type: ignore[arg-type]
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-images", type=int, nargs=2, default=[1_000, 100_000])
    parser.add_argument("--only", choices=("speed", "timm", "places", "memory"))
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, timm "
          f"{timm.__version__}, {torch.get_num_threads()} threads, device CPU")
    met = True
    if options.only in (None, "speed"):
        met = bench_speed(options.images, options.rounds)
    if options.only in (None, "timm"):
        met &= bench_timm(options.images, options.rounds)
    if options.only in (None, "places"):
        bench_places(options.images)
    if options.only in (None, "memory"):
        bench_memory(options.memory_images)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
