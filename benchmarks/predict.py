"""The prediction engine against the common practice: a pass over the images for every checkpoint.

    python benchmarks/predict.py [--images 240] [--members 5] [--rounds 3] [--memory-images 40000] [--only PART]

All candidates read the same JPEG files, run the same networks under the same two views, and end with the same
probabilities; the largest difference is printed. Peers: one DataLoader pass for each checkpoint with ttach in one
process, and one process for each checkpoint as in the iMet 2019 solution. Candidates take turns, so that a slow moment
of the machine hits all of them; printed are medians. Parts: decode, compute, start, memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import timm
import torch
from peers import find_peer
from PIL import Image

from foldpack.competitions.adapters import get_competition
from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.data.items import whole_images
from foldpack.ensemble.view_rows import stacked_views
from foldpack.models.checkpoint import CheckpointInfo, read_checkpoint, restore_net, save_checkpoint
from foldpack.models.classifier import build_classifier, normalise
from foldpack.predict.canvas import CanvasSet
from foldpack.predict.golden import remember_golden
from foldpack.predict.loop import Forward
from foldpack.predict.page_stream import PageStream
from foldpack.predict.pixel_source import HeldPixels
from foldpack.predict.room import Place
from foldpack.predict.scratch import keep_canvases
from foldpack.predict.views import parse_views
from foldpack.sealed.container import new_data_key, seal_file
from foldpack.settings.ensemble import fold_role, parse_spec, spec_to_dict
from foldpack.settings.network import Geometry, NetConfig
from packer.build.kernel_folder import with_fallback

PROJECT = Path(__file__).resolve().parents[1]
CLASSES = [str(k) for k in range(10)]
VIEWS = ["identity", "hflip"]
BATCH = 32
CPU = torch.device("cpu")


def make_images(folder: Path, count: int, size: tuple[int, int]) -> pd.DataFrame:
    """JPEGs with the noise and the edges of photographs, quality 92, and their sample submission."""
    (folder / "test").mkdir(parents=True)
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "test" / f"{number}.png", format="JPEG", quality=92)
    sample = pd.DataFrame({"id": [str(k) for k in range(count)], "label": "0"})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return sample


def make_ensemble(folder: Path, arch: str, size: int, members: int) -> tuple[dict, dict[str, str], list[Path]]:
    """Untrained networks as checkpoints and sealed files. Returns the spec, the keys and the plain checkpoints."""
    entries, keys, plain = [], {}, []
    for number in range(members):
        torch.manual_seed(number)
        config = NetConfig(arch=arch, size=size)
        net = build_classifier(config, len(CLASSES)).eval()
        info = CheckpointInfo(run=f"run{number}", fold=0, epoch=0, score=0.0, n_classes=len(CLASSES), net=config,
                              config_sha256="0" * 64, folds_sha256="0" * 64, seconds_per_image=0.01,
                              golden=remember_golden(net, config, CPU))
        path = folder / f"run{number}.safetensors"
        save_checkpoint(path, net.state_dict(), info)
        key, name = new_data_key(), f"{number:032x}"
        sealed = seal_file(path, folder / "weights" / f"{name}.sealed", key, fold_role(f"run{number}", 0))
        keys[f"{name}.sealed"] = bytes(key).hex()
        entries.append({"run": f"run{number}", "weight": 1.0, "views": VIEWS, "size": size, "seconds_per_image": 0.01,
                        "folds": [{"fold": 0, "sha256": "0" * 64, "file": f"{name}.sealed",
                                   "header": sealed.header_sha256}]})
        plain.append(path)
    spec = {"name": "bench", "competition": "digits", "slug": "bench", "task": "multiclass", "classes": CLASSES,
            "prior": [0.1] * 10, "metric": {"name": "accuracy", "oof": 0.5}, "members": entries}
    whole = with_fallback(parse_spec(spec), get_competition("digits"))
    return spec_to_dict(whole), keys, plain


def load_kernel() -> ModuleType:
    """kernels/kernel.py."""
    found = importlib.util.spec_from_file_location("kernel_entry", PROJECT / "kernels" / "kernel.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["kernel_entry"] = module
    found.loader.exec_module(module)
    return module


class JpegRows(torch.utils.data.Dataset):
    """The peers' dataset: decode, resize, normalise, one image at a time."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.paths[index]).convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy())[None]
        return normalise(pixels, NetConfig(arch="resnet18", size=self.size))[0]


def pass_of_checkpoint(path: Path, paths: list[Path], workers: int) -> np.ndarray:
    """The common practice: a DataLoader pass over all images for one checkpoint, views by ttach. (n, C) probs."""
    ttach = find_peer("ttach", "a DataLoader pass a checkpoint")
    assert ttach is not None, "the parent process asks first"
    weights, info = read_checkpoint(path)
    net = restore_net(weights, info, str(path))
    softmax = torch.nn.Sequential(net, torch.nn.Softmax(dim=1))
    wrapped = ttach.ClassificationTTAWrapper(softmax, ttach.Compose([ttach.HorizontalFlip()]), merge_mode="mean")
    loader = torch.utils.data.DataLoader(JpegRows(paths, info.net.size), batch_size=BATCH, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([wrapped(batch) for batch in loader]).numpy()


def dataloader_passes(plain: list[Path], paths: list[Path], workers: int) -> np.ndarray:
    """Peer 1: all checkpoints after another in this process."""
    return np.mean([pass_of_checkpoint(path, paths, workers) for path in plain], axis=0)


def process_passes(plain: list[Path], paths: list[Path], workers: int, folder: Path) -> np.ndarray:
    """Peer 2: a process for each checkpoint, then a mean of their files."""
    (folder / "paths.json").write_text(json.dumps([str(path) for path in paths]))
    for path in plain:
        subprocess.run([sys.executable, __file__, "--pass", str(path), str(folder / "paths.json"), str(workers)],
                       check=True)
    return np.mean([np.load(path.with_suffix(".npy")) for path in plain], axis=0)


def run_kernel(kernel: ModuleType, spec: dict, keys: dict[str, str], root: Path) -> np.ndarray:
    """Ours, whole: finding, decrypting, decoding, predicting, and a submission after every unit."""
    code = kernel.main(spec, keys, ["--input", str(root / "input"), "--output", str(root / "out"), "--hours", "20",
                                    "--probs", str(root / "probs.npy")])
    assert code == 0
    return np.load(root / "probs.npy")


def timed(job: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds by the clock, and what the job gave."""
    started = time.perf_counter()
    result = job()
    return time.perf_counter() - started, result


def bench_decode(images: int, members: int, rounds: int) -> None:
    """(a) decode-bound: large JPEGs, tiny networks."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "input" / "bench"
        make_images(folder, images, (1536, 1024))
        spec, keys, plain = make_ensemble(root / "input", "test_resnet", 32, members)
        paths = [folder / "test" / f"{k}.png" for k in range(images)]
        kernel, workers = load_kernel(), os.cpu_count() or 1
        jobs: dict[str, Callable[[], np.ndarray]] = {
            "foldpack kernel": lambda: run_kernel(kernel, spec, keys, root)}
        if find_peer("ttach", "both peers of the decode-bound part"):
            jobs["a DataLoader pass a checkpoint, ttach"] = lambda: dataloader_passes(plain, paths, workers)
            jobs["a process a checkpoint"] = lambda: process_passes(plain, paths, workers, root)
        report("decode-bound", f"{images} JPEGs of 1536x1024, {members} checkpoints of test_resnet at 32 px, 2 views",
               jobs, rounds)


def bench_compute(images: int, rounds: int) -> None:
    """(a) compute-bound: the loop from pixels against `model(x)` over tensors that are ready."""
    torch.manual_seed(0)
    config = NetConfig(arch="resnet18", size=128)
    net = build_classifier(config, len(CLASSES)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (images, 128, 128, 3), dtype=np.uint8)
    ready = [normalise(torch.from_numpy(pixels[at : at + BATCH]), config) for at in range(0, images, BATCH)]
    ready += [batch.flip(-1) for batch in ready]

    def bare() -> np.ndarray:
        with torch.inference_mode():
            logits = torch.cat([net(batch) for batch in ready]).numpy()
        return logits.reshape(2, images, -1)

    forward = Forward(net, config, parse_views(VIEWS, config), CPU, BATCH)
    held = HeldPixels(canvas_kind(config), pixels)
    jobs = {"foldpack, from uint8 pixels": lambda: stacked_views(forward.rows(held, 0, images), "logits"),
            "model(x) over ready tensors": bare}
    report("compute-bound", f"resnet18 at 128 px, {images} images, 2 views", jobs, max(rounds, 5))


def report(part: str, what: str, jobs: dict[str, Callable[[], np.ndarray]], rounds: int) -> None:
    """Run all jobs in turn, several times; print medians and the ratio of each to the first."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    results: dict[str, np.ndarray] = {}
    for number in range(rounds):
        for name in jobs if number % 2 == 0 else reversed(jobs):
            spent, results[name] = timed(jobs[name])
            seconds[name].append(spent)
    first = next(iter(jobs))
    print(f"\n{part}: {what}; {rounds} rounds")
    for name, spent in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(spent, seconds[first], strict=True))
        gap = float(np.abs(results[name] - results[first]).max())
        print(f"  {name:<42}{statistics.median(spent):8.2f} s   x {ratio:5.2f}   largest difference {gap:.1e}")


def bench_start(rounds: int) -> None:
    """(b) From the start of the process to the first finished batch, by parts."""
    code = ("import time; a = time.perf_counter(); import torch, timm; b = time.perf_counter(); "
            "import foldpack.tasks.classify, foldpack.engine.engine; c = time.perf_counter(); "
            "from foldpack.predict.device import probe_devices; probe_devices(); d = time.perf_counter(); "
            "print(b - a, c - b, d - c)")
    times = [[float(word) for word in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                                     check=True).stdout.split()] for _ in range(rounds)]
    imports, ours, probe = (statistics.median(each) for each in zip(*times, strict=True))
    print(f"\nstart-up: torch and timm {imports:.2f} s, our modules and the rest {ours:.2f} s, devices {probe:.2f} s")


def bench_memory(images: int) -> None:
    """(c) Peak memory of decoding many images at 320 px, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--peak", str(images)], capture_output=True, text=True, check=True)
    print(f"\nmemory: {images} images of 320x320 in a canvas: {done.stdout.strip()}")
    done = subprocess.run([sys.executable, __file__, "--pages"], capture_output=True, text=True, check=True)
    print(f"memory: 60 pages of 2480x2480, streamed: {done.stdout.strip()}")


def peak_of_pages() -> None:
    """Stream 60 pages of 18 MB, each decoded from a JPEG of 3000 x 3000 pixels; print what the peak grew by."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "page.jpg"
        coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
        coarse.resize((3000, 3000), Image.Resampling.BILINEAR).save(path)
        kind = CanvasKind(2480, geometry=Geometry(kind="long"))
        stream = PageStream([path] * 60, kind, os.cpu_count() or 1)
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        stream.expect(0, 60)
        total = sum(int(stream.take(row, row + 1)[0].sum(dtype=np.int64)) for row in range(60))
        spent = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{60 * kind.most_bytes / 1e9:.2f} GB passed in {grown:.0f} MiB and {spent:.0f} s (sum {total})")


def peak_of_canvas(images: int) -> None:
    """Decode one small JPEG again and again into a canvas file, read all of it back in batches, print the peak."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "one.jpg"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)).save(path)
        kind = CanvasKind(320, "pillow")
        started = time.perf_counter()
        items = whole_images([str(k) for k in range(images)], [path] * images)
        kept = keep_canvases(items, {kind: 1}, [Place(Path(name), 1 << 40)], 1, print)[0]
        canvases = CanvasSet(items, [kind], kept)
        canvases.start(os.cpu_count() or 1)
        canvases.wait(images, 1e9)
        decoded = time.perf_counter() - started
        total = sum(int(canvases.pixels[kind].take(at, at + 64).sum(dtype=np.int64)) for at in range(0, images, 64))
        canvases.close()
        read = time.perf_counter() - started - decoded
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print(f"peak {peak:.2f} GiB, decoded in {decoded:.0f} s, read back in {read:.0f} s (sum {total})")


def main() -> None:
    """Run the parts that were asked for."""
    if "--pass" in sys.argv:
        checkpoint, listing, workers = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
        paths = [Path(path) for path in json.loads(listing.read_text())]
        np.save(checkpoint.with_suffix(".npy"), pass_of_checkpoint(checkpoint, paths, workers))
        return
    if "--peak" in sys.argv:
        return peak_of_canvas(int(sys.argv[2]))
    if "--pages" in sys.argv:
        return peak_of_pages()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-images", type=int, default=40_000)
    parser.add_argument("--only", choices=("decode", "compute", "start", "memory"))
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, timm "
          f"{timm.__version__}, {torch.get_num_threads()} threads, device CPU")
    parts: dict[str, Callable[[], None]] = {
        "decode": lambda: bench_decode(options.images, options.members, options.rounds),
        "compute": lambda: bench_compute(options.images, options.rounds),
        "start": lambda: bench_start(options.rounds), "memory": lambda: bench_memory(options.memory_images)}
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    main()
