"""Exact nearest neighbours and re-ranking against their peers: same neighbours, CPU seconds, memory.

    python benchmarks/retrieve.py [--queries 10000] [--items 100000] [--dim 512] [--count 10] [--threads 2]
                                  [--rerank 1500]

Nearest items of seeded random vectors: ours, scikit-learn's brute force, faiss's flat index. Each in a process of its
own, whose peak memory beyond the vectors is told; CPU seconds are those of all threads, so that other work on the
machine counts little, and wall seconds stand beside them. Re-ranking: ours in sparse form against the dense loops of
the paper's numpy code, of so many vectors in all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from peers import find_peer
from sklearn.neighbors import NearestNeighbors

ROWS = ("foldpack", "scikit-learn", "faiss")


def unit_vectors(count: int, dim: int, seed: int) -> np.ndarray:
    """(count, dim) float32 of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def search_of(name: str, gallery: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """Queries -> places of their nearest items; None where the peer is not there."""
    if name == "foldpack":
        from foldpack.ensemble.retrieve.nearest import nearest_items

        return lambda queries: nearest_items(queries, gallery, count).places
    if name == "scikit-learn":
        index = NearestNeighbors(n_neighbors=count, metric="euclidean", algorithm="brute").fit(gallery)
        return lambda queries: index.kneighbors(queries, return_distance=False)
    faiss = find_peer("faiss", "its row")
    if faiss is None:
        return None
    flat = faiss.IndexFlatIP(gallery.shape[1])
    flat.add(gallery)
    return lambda queries: flat.search(queries, count)[1]


def measure(asked: argparse.Namespace) -> None:
    """Of one row, in this process: print CPU and wall seconds, peak memory and a digest of what was found."""
    gallery, queries = unit_vectors(asked.items, asked.dim, 0), unit_vectors(asked.queries, asked.dim, 1)
    search = search_of(asked.row, gallery, asked.count)
    if search is None:
        return
    search(queries[:64])
    before, cpu, wall = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), time.perf_counter()
    found = search(queries)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    np.save(asked.out, found)
    print(json.dumps({"cpu": cpu, "wall": wall, "mib": more / 1024}))


def published_rerank(everyone: np.ndarray, queries: int, k1: int, k2: int, own: float) -> np.ndarray:
    """Final distances as the paper's numpy code makes them: dense tables, and a loop over items."""
    distance = np.maximum(2 - 2 * everyone @ everyone.T, 0)
    distance = (distance / distance.max(axis=0)).T
    rank, count = np.argsort(distance), len(everyone)
    shares = np.zeros_like(distance)
    for item in range(count):
        forward = rank[item, : k1 + 1]
        mine = forward[np.where(rank[forward, : k1 + 1] == item)[0]]
        grown = mine
        for candidate in mine:
            near = rank[candidate, : int(np.around(k1 / 2)) + 1]
            theirs = near[np.where(rank[near, : int(np.around(k1 / 2)) + 1] == candidate)[0]]
            if len(np.intersect1d(theirs, mine)) > 2 / 3 * len(theirs):
                grown = np.append(grown, theirs)
        grown = np.unique(grown)
        weights = np.exp(-distance[item, grown])
        shares[item, grown] = weights / weights.sum()
    if k2 != 1:
        shares = np.stack([shares[rank[item, :k2]].mean(axis=0) for item in range(count)])
    holders = [np.where(shares[:, item] != 0)[0] for item in range(count)]
    jaccard = np.zeros((queries, count), np.float32)
    for query in range(queries):
        smaller = np.zeros(count, np.float32)
        for item in np.where(shares[query] != 0)[0]:
            smaller[holders[item]] += np.minimum(shares[query, item], shares[holders[item], item])
        jaccard[query] = 1 - smaller / (2 - smaller)
    return (jaccard * (1 - own) + distance[:queries] * own)[:, queries:]


def compare_rerank(total: int) -> None:
    """Print CPU seconds of both, and the largest difference."""
    from foldpack.ensemble.retrieve.rerank import Reranked
    from foldpack.settings.retrieve import Rerank

    rng, settings, queries = np.random.default_rng(2), Rerank(), total // 5
    faces = rng.standard_normal((total // 6, 64), dtype=np.float32)
    everyone = faces[rng.integers(0, len(faces), total)] + 0.6 * rng.standard_normal((total, 64), dtype=np.float32)
    everyone /= np.linalg.norm(everyone, axis=1, keepdims=True)
    started = time.process_time()
    ours = 1 - Reranked(everyone[:queries], everyone[queries:], settings).similarities(np.arange(queries))
    between = time.process_time()
    theirs = published_rerank(everyone, queries, settings.k1, settings.k2, settings.own)
    mine, other = between - started, time.process_time() - between
    print(f"re-ranking of {queries} queries and {total - queries} items: {mine:.2f} CPU s, published form {other:.2f}, "
          f"ratio {other / mine:.1f}, largest difference {np.abs(ours - theirs).max():.1e}")


def main() -> None:
    """Print a line a peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("queries", 10_000), ("items", 100_000), ("dim", 512), ("count", 10), ("threads", 2),
                        ("rerank", 1500)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        return measure(asked)
    threads = {name: str(asked.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    print(f"{asked.count} nearest of {asked.items} items for {asked.queries} queries of {asked.dim} numbers, "
          f"{asked.threads} threads")
    found: dict[str, np.ndarray] = {}
    for row in ROWS:
        out = f"retrieve-{os.getpid()}-{row}.npy"
        command = [sys.executable, __file__, "--row", row, "--out", out]
        command += [f"--{name}={getattr(asked, name)}" for name in ("queries", "items", "dim", "count")]
        done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
        sys.stderr.write(done.stderr)
        if not done.stdout:
            continue
        found[row] = np.load(out)
        os.unlink(out)
        took = json.loads(done.stdout)
        same = (found[row] == found["foldpack"]).mean()
        print(f"  {row}: {took['cpu']:.2f} CPU s, {took['wall']:.2f} s, {took['mib']:.0f} MiB more, "
              f"{100 * same:.3f} % of places as ours", flush=True)
    compare_rerank(asked.rerank)


if __name__ == "__main__":
    main()
