"""Boosters of level 2 are sealed like folds: only what the search wrote, each for its place, and laid out with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldpack.ensemble.level2 import open_level2, read_booster_texts
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.keyring.keyring import Keyring
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec, booster_role, fold_role, parse_spec, sealed_parts
from packer.build.stage import SealedStore, StageError, lay_out_weights, seal_boosters

TEXTS = {"lightgbm.f0.s0.txt": "tree\nnum_leaves=3\n", "xgboost.f0.s0.json": '{"learner": {}}'}


def make_spec(**changes: object) -> EnsembleSpec:
    boosters = [{"kind": name.partition(".")[0], "fold": 0, "file": name,
                 "sha256": hashlib.sha256(text.encode()).hexdigest()} for name, text in TEXTS.items()]
    level2 = {"top": 2, "members": ["one"], "oof": 0.9, "nested": 0.9, "nested_se": 0.01, "gain": 0.1, "gain_se": 0.01,
              "boosters": boosters}
    fold = {"fold": 0, "sha256": "a" * 64, "file": "f.sealed", "header": "b" * 64}
    members = [{"run": "one", "weight": 1.0, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
                "folds": [fold]}]
    return parse_spec({"name": "best", "competition": "digits", "slug": "s", "task": "multiclass",
                       "classes": ["a", "b"], "prior": [0.5, 0.5], "metric": {"name": "accuracy", "oof": 0.9},
                       "members": members, "level2": level2 | changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "best").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "best" / name).write_text(text)
    return tmp_path / "best"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SealedStore]:
    with Keyring.editing(tmp_path / "keys" / "keyring") as ring:
        yield SealedStore(tmp_path / "sealed", ring)


def test_boosters_are_sealed_for_their_places_and_come_back_as_they_were(folder: Path, store: SealedStore) -> None:
    spec, keys = seal_boosters(make_spec(), folder, store)
    files = {str(one.header): store.folder / str(one.sealed) for one in spec.boosters}
    by_id = {Path(name).stem: DataKey(bytes.fromhex(key)) for name, key in keys.items()}
    assert read_booster_texts(spec, spec.last, files, by_id) == list(TEXTS.values())
    fuser = ScoreFuser(spec.last, 1)
    assert open_level2(spec, spec.last, fuser, files, by_id) is not None
    assert open_level2(spec, spec.last, fuser, dict(list(files.items())[1:]), by_id) is None  # one was not found
    assert [part.role for part in sealed_parts(spec)] == [fold_role("one", 0), booster_role(0), booster_role(1)]
    again, _ = seal_boosters(make_spec(), folder, store)
    assert again == spec  # sealed once


def test_boosters_lie_among_the_weights_to_upload(folder: Path, store: SealedStore) -> None:
    spec, _ = seal_boosters(make_spec(), folder, store)
    (store.folder / "f.sealed").write_bytes(b"fold")
    lay_out_weights(spec, store, folder.parent / "weights", "someone/best-weights")
    laid = {path.name for path in (folder.parent / "weights").iterdir()}
    assert laid == {"dataset-metadata.json"} | {part.file for part in sealed_parts(spec)}


def test_a_changed_or_missing_booster_stops_the_pack_before_a_seal(folder: Path, store: SealedStore) -> None:
    (folder / "xgboost.f0.s0.json").write_text("other")
    with pytest.raises(StageError, match=r"xgboost.f0.s0.json: missing or changed since the search; run `foldpack search`"):
        seal_boosters(make_spec(), folder, store)
    (folder / "xgboost.f0.s0.json").unlink()
    with pytest.raises(StageError, match="missing or changed since the search"):
        seal_boosters(make_spec(), folder, store)
    assert not store.folder.exists()


def test_an_ensemble_without_level_two_needs_no_folder(store: SealedStore) -> None:
    spec = make_spec().with_last(level2=[])
    assert seal_boosters(spec, Path("nowhere"), store) == (spec, {})
    assert open_level2(spec, spec.last, ScoreFuser(spec.last, 1), {}, {}) is None
