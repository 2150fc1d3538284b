"""Staging: every checkpoint is sealed once, and only if it is the one that the ensemble was fitted on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldpack.data.runs import FoldMeta, RunMeta, checkpoint_path, write_meta
from foldpack.errors import DataError
from foldpack.files import link_or_copy
from foldpack.keyring.keyring import Keyring, KeyringUnreadableError
from foldpack.sealed.container import read_sealed, read_sealed_header
from foldpack.settings.ensemble import EnsembleSpec, parse_spec
from packer.build.stage import SealedStore, StageError, lay_out_weights, seal_members

CLASSES = ["a", "b"]
RUNS = ("one", "two")


def plain(run: str, fold: int) -> bytes:
    return f"weights of {run} {fold}".encode() * 50


def make_runs(root: Path) -> Path:
    for run in RUNS:
        (root / run).mkdir(parents=True)
        digests = []
        for fold in range(2):
            checkpoint_path(root / run, fold).write_bytes(plain(run, fold))
            digests.append(hashlib.sha256(plain(run, fold)).hexdigest())
        folds = [FoldMeta(fold=k, items=1, score=0.5, epoch=0, sha256=digest) for k, digest in enumerate(digests)]
        write_meta(root / run, RunMeta(
            run=run, competition="digits", task="multiclass", classes=CLASSES, prior=[0.5, 0.5], size=32,
            views=["identity"], metric="accuracy", score=0.5, folds=folds, seconds_per_image=0.1,
            config_sha256="0" * 64, folds_sha256="0" * 64, oof_sha256="0" * 64, targets_sha256="0" * 64, versions={}))
    return root


def make_spec(**changes: object) -> EnsembleSpec:
    members = [{"run": run, "weight": 0.5, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
                "folds": [{"fold": k, "sha256": hashlib.sha256(plain(run, k)).hexdigest()} for k in range(2)]}
               for run in RUNS]
    return parse_spec({"name": "best", "competition": "digits", "slug": "s", "task": "multiclass", "classes": CLASSES,
                       "prior": [0.5, 0.5], "metric": {"name": "accuracy", "oof": 0.9}, "members": members, **changes})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return make_runs(tmp_path / "runs")


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Keyring]:
    with Keyring.editing(tmp_path / "keys" / "keyring") as ring:
        yield ring


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def seal(spec: EnsembleSpec, runs: Path, ring: Keyring) -> tuple[EnsembleSpec, dict[str, str]]:
    return seal_members(spec, runs, SealedStore(runs.parent / "build" / "sealed", ring))


def test_every_checkpoint_is_sealed_for_its_own_role(runs: Path, ring: Keyring) -> None:
    spec, keys = seal(make_spec(), runs, ring)
    store = runs.parent / "build" / "sealed"
    assert names(store) == sorted([*keys, "index.json"]) and len(keys) == 4
    for member in spec.members:
        for fold in member.folds:
            path = store / str(fold.file)
            assert read_sealed_header(path).header_sha256 == fold.header
            opened = read_sealed(path, bytes.fromhex(keys[path.name]), f"{member.run}/fold{fold.fold}", fold.header)
            with opened:
                assert opened.to_bytes() == plain(member.run, fold.fold)
            assert member.run not in path.name  # an opaque name
    assert [member.weight for member in spec.members] == [0.5, 0.5]


def test_sealing_again_changes_nothing(runs: Path, ring: Keyring) -> None:
    store = runs.parent / "build" / "sealed"
    first = seal(make_spec(), runs, ring)
    times = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    assert seal(make_spec(name="other"), runs, ring)[1] == first[1]
    assert {path.name: path.stat().st_mtime_ns for path in store.iterdir()} == times
    assert len(ring.entries()) == 4


@pytest.mark.parametrize("loss", ["key", "file", "header", "size", "index", "version"])
def test_what_cannot_be_opened_any_more_is_sealed_again(runs: Path, ring: Keyring, tmp_path: Path, loss: str) -> None:
    spec, keys = seal(make_spec(), runs, ring)
    store = runs.parent / "build" / "sealed"
    lost = store / str(spec.members[0].folds[0].file)
    if loss == "key":
        ring = Keyring(tmp_path / "new keyring")
    if loss == "file":
        lost.unlink()
    if loss == "header":
        lost.write_bytes(b"x" + lost.read_bytes()[1:])
    if loss == "size":
        lost.write_bytes(lost.read_bytes()[:-1])
    if loss == "index":
        (store / "index.json").write_text("{")
    if loss == "version":
        (store / "index.json").write_text(json.dumps({"version": 9, "files": {}}))
    again, new_keys = seal(make_spec(), runs, ring)
    changed = {fold.file for member in again.members for fold in member.folds} - set(keys)
    assert len(changed) == (1 if loss in ("file", "header", "size") else 4)
    assert all((store / str(name)).is_file() for name in new_keys)


def test_the_keys_are_saved_before_a_sealed_file_has_its_name(runs: Path, ring: Keyring, monkeypatch) -> None:
    def fail(self: Keyring) -> None:
        raise KeyringUnreadableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Keyring, "save", fail)
        with pytest.raises(KeyringUnreadableError):
            seal(make_spec(), runs, ring)
    assert names(runs.parent / "build" / "sealed") == []
    seal(make_spec(), runs, ring)
    assert len(Keyring.load(ring.path).entries()) >= 4


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda runs: checkpoint_path(runs / "two", 1).write_bytes(b"other"), StageError,
         "runs/two/fold1.safetensors: the weights changed since the search; run `foldpack search` again"),
        (lambda runs: checkpoint_path(runs / "two", 1).unlink(), StageError,
         "runs/two/fold1.safetensors: the weights of fold 1 are missing; train the run again and search again"),
        (lambda runs: (runs / "two/meta.json").unlink(), DataError, "runs/two: the run is not finished"),
        (lambda runs: (runs / "two").rename(runs / "three"), DataError, "runs/two: there is no such run; train it"),
    ],
)
def test_other_weights_are_refused_before_anything_is_sealed(runs, ring, damage, kind, message) -> None:
    damage(runs)
    with pytest.raises(kind) as caught:
        seal(make_spec(), runs, ring)
    assert message in str(caught.value)
    assert names(runs.parent / "build" / "sealed") == [] and ring.entries() == []


@pytest.mark.parametrize("changes", [{"classes": ["b", "a"]}, {"classes": ["a", "b", "c"], "prior": [1.0, 0.0, 0.0]},
                                     {"task": "multilabel", "threshold": 0.5}])
def test_an_ensemble_that_does_not_fit_its_runs(runs: Path, ring: Keyring, changes: dict) -> None:
    with pytest.raises(StageError, match=r"one: softmax, 2 classes and 32 px do not fit the stage 'classify' \(s"):
        seal(make_spec(**changes), runs, ring)


def test_the_dataset_holds_the_sealed_files_flat_and_nothing_else(runs: Path, ring: Keyring, tmp_path: Path) -> None:
    spec, keys = seal(make_spec(), runs, ring)
    folder = tmp_path / "weights"
    (folder / "old").mkdir(parents=True)
    (folder / "old.sealed").touch()
    lay_out_weights(spec, SealedStore(runs.parent / "build" / "sealed", ring), folder, "someone/best-weights")
    assert names(folder) == sorted([*keys, "dataset-metadata.json"])
    metadata = json.loads((folder / "dataset-metadata.json").read_text())
    assert metadata["id"] == "someone/best-weights" and metadata["title"] == "best-weights"
    plaintexts = [plain(run, fold) for run in RUNS for fold in range(2)]
    assert not any(text in path.read_bytes() for path in folder.iterdir() for text in plaintexts)


def test_a_link_where_the_disk_allows_it_else_a_copy(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a").write_bytes(b"x")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert os.path.samefile(tmp_path / "a", tmp_path / "b")

    def deny(*args: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", deny)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"x" and not os.path.samefile(tmp_path / "a", tmp_path / "c")
