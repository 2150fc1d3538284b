"""What the models of each fold say: the numbers of the one predict loop, apart by fold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from planted import FOLDS, Planted
from small_house import House, package_probs

from foldpack.data.items import whole_images
from foldpack.data.runs import read_run
from foldpack.errors import FoldpackError
from foldpack.search.run_rows import image_reader_of
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import parse_spec, spec_to_dict, write_spec
from foldpack.train.extra_labels.fold_predictions import Asked, predict_folds, whole_answers
from foldpack.train.extra_labels.labels_file import OOF_DOUBT, read_labels, read_tensor


def quiet(text: str) -> None:
    """Nobody reads it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A run `teacher` on half of the epochs, of two views. Read only."""
    place = Planted(tmp_path_factory.mktemp("predict") / "p", count=48)
    place.train("teacher", views=["identity", "hflip"], epochs=8, evaluate_every=8)
    return place


def test_on_training_items_a_fold_says_what_it_said_out_of_fold(place: Planted, tmp_path: Path) -> None:
    runs = place.root / "runs"
    predict_folds(["teacher"], "train", tmp_path / "train", place.root, runs, say=quiet)
    info = predict_folds(["teacher"], "oof", tmp_path / "oof", place.root, runs, say=quiet)
    run = read_run(runs / "teacher")
    expected = image_reader_of(run)(slice(None))
    np.testing.assert_allclose(read_tensor(tmp_path / "oof", "oof"), expected)
    assert info.doubts == [OOF_DOUBT] and info.ids == run.ids
    for fold in range(FOLDS):
        said, inside = read_tensor(tmp_path / "train", f"fold{fold}"), run.fold == fold
        np.testing.assert_allclose(said[inside], expected[inside], atol=1e-5)
        assert np.abs(said[~inside] - expected[~inside]).max() > 0.1
    assert read_labels(tmp_path / "train", "predictions").doubts == []


def test_the_folds_together_say_what_the_kernel_says(house: House, tmp_path: Path) -> None:
    """By the blend that the rehearsed kernel is compared with."""
    predict_folds([str(house.ensemble)], "test", tmp_path / "test", house.data, house.runs, fitted=True, say=quiet)
    mean = np.mean([read_tensor(tmp_path / "test", f"fold{fold}") for fold in range(2)], axis=0)
    np.testing.assert_allclose(mean, package_probs(house, house.spec, house.data), atol=1e-4)


def test_what_is_no_blend_of_runs_is_refused(place: Planted, house: House, tmp_path: Path) -> None:
    runs, out = place.root / "runs", tmp_path / "out"
    spec, _ = search_runs("one", [runs / "teacher"], RunSearch(hours=1.0))
    plain = spec_to_dict(spec)
    stage = plain["stages"][-1]
    booster = {"kind": "lightgbm", "fold": 0, "file": "b.txt", "sha256": "0" * 64}
    level2 = {"top": 2, "members": ["teacher"], "oof": 0.5, "nested": 0.5, "nested_se": 0.1, "gain": 0.1,
              "gain_se": 0.1, "boosters": [booster]}
    trained_again = [{**fold, "sha256": "1" * 64} for fold in stage["members"][0]["folds"]]
    cases = {
        "its level 2 was fitted on the labels of all folds": {"level2": [level2]},
        "it blends ranks, which are no probabilities": {"fuse": {"kind": "scores", "space": "rank"}},
        "run 'teacher' was trained again since": {"members": [{**stage["members"][0], "folds": trained_again}]},
        "no out-of-fold predictions of view 'vflip'": {"members": [{**stage["members"][0], "views": ["vflip"]}]},
    }
    for message, changes in cases.items():
        path = tmp_path / "e.yml"
        write_spec(path, parse_spec({**plain, "stages": [{**stage, **changes}]}))
        with pytest.raises(FoldpackError, match=message):
            predict_folds([str(path)], "test", out, place.root, runs, fitted=True, say=quiet)
    with pytest.raises(FoldpackError, match="there is no such run"):
        predict_folds(["absent"], "test", out, place.root, runs, say=quiet)
    shutil.copytree(house.runs / "tiny_resnet", tmp_path / "mixed/tiny_resnet")
    shutil.copytree(runs / "teacher", tmp_path / "mixed/teacher")
    with pytest.raises(FoldpackError, match="'teacher' and 'tiny_resnet' differ in their competition"):
        predict_folds(["teacher", "tiny_resnet"], "test", out, place.root, tmp_path / "mixed", say=quiet)
    assert not out.exists()


def test_images_that_are_answered_together_all_say_their_mean() -> None:
    items = whole_images(["a", "b", "c", "d"], [Path(f"{name}.png") for name in "abcd"], answer=["x", "y", "x", "x"])
    said = np.array([[0.2, 0.8], [1.0, 0.0], [0.6, 0.4], [0.0, 0.0]], np.float32)
    asked = Asked(items, Path(), quiet, lost={3})
    np.testing.assert_allclose(whole_answers(asked, said), [[0.4, 0.6], [1.0, 0.0], [0.4, 0.6], [0.4, 0.6]])
    alone = Asked(whole_images(items.ids, items.images), Path(), quiet)
    assert whole_answers(alone, said) is said


def test_a_view_less_in_the_ensemble_is_a_view_less_here(place: Planted, tmp_path: Path) -> None:
    runs = place.root / "runs"
    spec, _ = search_runs("one", [runs / "teacher"], RunSearch(hours=1.0))
    [member] = spec.last.members
    write_spec(tmp_path / "e.yml", spec.with_last(members=[member.model_copy(update={"views": ["hflip"]})]))
    for items in ("test", "oof"):
        predict_folds([str(tmp_path / "e.yml")], items, tmp_path / "one", place.root, runs, say=quiet)
        predict_folds(["teacher"], items, tmp_path / "both", place.root, runs, say=quiet)
        name = "oof" if items == "oof" else "fold0"
        assert np.abs(read_tensor(tmp_path / "one", name) - read_tensor(tmp_path / "both", name)).max() > 1e-3
