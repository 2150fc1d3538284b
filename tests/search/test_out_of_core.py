"""Runs whose predictions are larger than memory: the whole search in a process of bounded size."""

import json
import subprocess
import sys

import pytest

# Write runs of float16 logits, then search them in a fresh process that says how large it became.
WRITE = """
import sys
from pathlib import Path

import numpy as np

from foldpack.data.runs import FoldMeta, RunMeta, write_array, write_meta, write_oof_rows
from foldpack.files import sha256_folder

folder, members, items, classes = Path(sys.argv[1]), *(int(one) for one in sys.argv[2:5])
rng = np.random.default_rng(0)
targets = rng.random((items, classes), dtype=np.float32) < 3 / classes
targets[np.arange(items), rng.integers(0, classes, items)] = True
fold = np.arange(items) % 5
noise = rng.normal(0, 1, 4_000_000).astype(np.float32)
shared = rng.integers(0, 2_000_000, items // 1000 + 1)  # members err alike, as networks do: mostly on the same cells
for member in range(members):
    run = folder / f"run{member}"
    run.mkdir(parents=True)
    (run / "oof" / "view0").mkdir(parents=True)
    oof = np.lib.format.open_memmap(run / "oof/view0/column.logits.npy", "w+", np.float16, (items, classes))
    for first in range(0, items, 1000):
        part = targets[first : first + 1000]
        at, common = int(rng.integers(0, len(noise) - part.size)), int(shared[first // 1000])
        own = noise[at : at + part.size].reshape(part.shape)
        alike = noise[common : common + part.size].reshape(part.shape)
        oof[first : first + 1000] = 5 * part - 6 + 1.4 * alike + 0.5 * own
    oof.flush()
    del oof
    write_oof_rows(run / "oof.csv", [f"i{k}" for k in range(items)], fold)
    folds = [FoldMeta(fold=k, items=int((fold == k).sum()), score=0.5, epoch=0, sha256="0" * 64) for k in range(5)]
    write_meta(run, RunMeta(
        run=run.name, competition="imet", task="multilabel", classes=[f"c{k}" for k in range(classes)],
        prior=targets.mean(axis=0).tolist(), size=32, views=["identity"], metric="f2", score=0.5, folds=folds,
        seconds_per_image=0.01, config_sha256="0" * 64, folds_sha256="0" * 64,
        oof_sha256=sha256_folder(run / "oof"), targets_sha256=write_array(run / "targets.npy", targets), versions={},
    ))
"""

SEARCH = """
import json, resource, sys, time
from functools import partial
from pathlib import Path

import foldpack.search.find as find
import foldpack.search.run_rows as run_rows
import foldpack.search.runs as ensemble
from foldpack.search.cells.compact import compact_cells
from foldpack.search.find import SearchOptions

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before, started = peak(), time.monotonic()
if int(sys.argv[2]):
    run_rows.compact_cells = partial(compact_cells, store_bytes=int(sys.argv[2]))
find.bootstrap = partial(find.bootstrap, draws=20, worth_draws=5)  # of small matrices: it takes time and no memory
asked = ensemble.RunSearch(options=SearchOptions(spaces=["logit"]))
said = set()
def progress(stage, share):
    if stage not in said:
        said.add(stage)
        print(f"{time.monotonic() - started:8.1f} s {stage}, {peak() / 2**20:.0f} MiB", file=sys.stderr, flush=True)
spec, numbers = ensemble.search_runs("big", sorted(Path(sys.argv[1]).iterdir()), asked, progress)
print(json.dumps({"before": before, "peak": peak(), "seconds": time.monotonic() - started, "scores": numbers["scores"],
                  "notes": numbers["notes"], "cpu": time.process_time()}))
"""


def searched(folder, store_bytes, *sizes):
    """The numbers of a search of runs of some sizes: members, items, classes. store_bytes: 0 for the usual store."""
    folder = folder / "runs"
    subprocess.run([sys.executable, "-c", WRITE, str(folder), *map(str, sizes)], check=True)
    command = [sys.executable, "-c", SEARCH, str(folder), str(store_bytes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_runs_larger_than_the_memory_allowed(tmp_path):
    """141 MB of float16 logits; the search grows by less than these take as float32."""
    found = searched(tmp_path, 16 << 20, 16, 4_000, 1103)
    assert found["peak"] - found["before"] < 16 * 4_000 * 1103 * 4
    assert found["scores"]["nested"] > 0.5


@pytest.mark.slow
def test_forty_members_of_imet_size_stay_below_two_gigabytes(tmp_path):
    """40 x 110,000 x 1,103: 9.7 GB of float16 logits on the disk."""
    found = searched(tmp_path, 0, 40, 110_000, 1103)
    print(found)
    assert found["peak"] < 2e9
    assert found["scores"]["nested"] > 0.5
