"""Test items with labels: what a fold may learn, a planted leak that is caught, and that each setting matters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from planted import CLASSES, FOLDS, Planted
from safetensors.torch import load_file
from view_arrays import oof_array

from foldpack.competitions.adapters import find_adapter
from foldpack.data.runs import checkpoint_path, read_meta, read_run, write_meta
from foldpack.errors import FoldpackError
from foldpack.files import sha256_file
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import write_spec
from foldpack.settings.run import RunConfig
from foldpack.train.checks import settled_run
from foldpack.train.dataset import AugmentedRows, TrainingSet
from foldpack.train.extra_labels.chosen import Rules, choose_pseudo
from foldpack.train.extra_labels.fold_predictions import predict_folds
from foldpack.train.extra_labels.labels_file import LabelsInfo, Maker, read_labels, read_tensor, write_labels
from foldpack.train.extra_labels.sources import CHOSEN_DOUBT
from foldpack.train.load import load_training_set
from foldpack.train.loop.training import FoldTraining


def quiet(text: str) -> None:
    """Nobody reads it."""


def prepared(root: Path, kind: str) -> Planted:
    """A run `teacher`, its predictions of the test items, and labels of them."""
    place = Planted(root / "p", kind)
    place.train("teacher", views=["identity", "hflip"])
    predict_folds(["teacher"], "test", root / "p" / "predictions", place.root, place.root / "runs", say=quiet)
    rules = {"class": Rules(confidence=0.6, weigh=True), "labels": Rules(low=0.4, high=0.6), "values": Rules(spread=1.)}
    choose_pseudo(root / "p" / "predictions", root / "p" / "pseudo", rules[kind], quiet)
    return place


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Read only."""
    return prepared(tmp_path_factory.mktemp("pseudo"), "class")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Read only."""
    return prepared(tmp_path_factory.mktemp("pseudo"), "labels")


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Read only."""
    return prepared(tmp_path_factory.mktemp("pseudo"), "values")


def with_pseudo(place: Planted, file: Path | None = None, **more: object) -> RunConfig:
    return place.config("student", pseudo={"file": str(file or place.root / "pseudo"), **more})


def loaded(place: Planted, config: RunConfig) -> TrainingSet:
    settled = settled_run(config, place.root / "runs" / config.run, quiet)
    return load_training_set(settled, find_adapter(config.competition), place.root, place.folds_csv, quiet)


def of_all_folds(place: Planted, out: Path, honest: bool) -> Path:
    """Labels that the models of all folds made together. honest: the file says so."""
    info = read_labels(place.root / "predictions", "predictions")
    mean = np.mean([read_tensor(place.root / "predictions", f"fold{fold}") for fold in info.folds], axis=0)
    arrays = {}
    for fold in info.folds:
        arrays |= {f"rows{fold}": np.arange(len(mean)), f"labels{fold}": mean.astype(np.float32),
                   f"weights{fold}": np.ones(len(mean), np.float32)}
    everyone = [maker for each in info.made for maker in each.makers]
    made = [each.model_copy(update={"makers": everyone}) for each in info.made] if honest else info.made
    write_labels(out, info.model_copy(update={"content": "pseudo", "made": made}), arrays)
    return out


def test_labels_of_all_folds_are_refused_and_would_have_faked_the_score(classes: Planted, tmp_path: Path) -> None:
    """The planted leak: the test items are twins of training items whose labels are drawn by chance, so whatever a
    network says of an item that it has not seen is right by chance, one in four."""
    config = with_pseudo(classes, of_all_folds(classes, tmp_path / "open", honest=True))
    with pytest.raises(FoldpackError, match="what fold 0 would learn was made by run 'teacher' fold 1, which has "
                                            "learned from the items of fold 0"):
        loaded(classes, config)
    chance = 0.25 + 3 * (0.25 * 0.75 / 96) ** 0.5
    ours = classes.train("ours", pseudo={"file": str(classes.root / "pseudo"), "labels": "soft"})
    assert read_meta(classes.root / "runs/teacher").score < chance and ours.score < chance and ours.doubts == []
    lied = of_all_folds(classes, tmp_path / "lied", honest=False)  # a file whose word is false
    assert classes.train("lied", pseudo={"file": str(lied)}).score > 0.9


def test_a_checkpoint_under_the_name_of_another_fold_says_nothing(classes: Planted, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(classes.root / "runs", tmp_path / "runs"))
    meta = read_meta(runs / "teacher")
    shutil.copy(checkpoint_path(runs / "teacher", 1), checkpoint_path(runs / "teacher", 0))
    with pytest.raises(FoldpackError, match="fold0.safetensors: missing or changed"):
        predict_folds(["teacher"], "test", tmp_path / "out", classes.root, runs, say=quiet)
    digest = sha256_file(checkpoint_path(runs / "teacher", 0))
    folds = [fold.model_copy(update={"sha256": digest}) if fold.fold == 0 else fold for fold in meta.folds]
    write_meta(runs / "teacher", meta.model_copy(update={"folds": folds}))
    with pytest.raises(FoldpackError, match="it is of run 'teacher' fold 1, .* learned from the items of fold 0"):
        predict_folds(["teacher"], "test", tmp_path / "out", classes.root, runs, say=quiet)
    assert not (tmp_path / "out").exists()


def test_each_fold_learns_what_its_own_models_say(classes: Planted) -> None:
    data, info = loaded(classes, with_pseudo(classes)), read_labels(classes.root / "pseudo", "pseudo")
    assert [[maker.fold for maker in each.makers] for each in info.made] == [[fold] for fold in range(FOLDS)]
    assert all(each.makers[0].sha256 == sha256_file(checkpoint_path(classes.root / "runs/teacher", each.fold))
               for each in info.made)
    seen = set()
    for fold in range(FOLDS):
        learned = data.of_fold(fold)
        rows = read_tensor(classes.root / "pseudo", f"rows{fold}")
        said = read_tensor(classes.root / "predictions", f"fold{fold}")
        assert (said[rows].max(axis=1) >= 0.6).all() and len(rows) == (said.max(axis=1) >= 0.6).sum() < len(said)
        assert learned.ids == data.ids + [info.ids[row] for row in rows] and len(data.ids) == 96
        assert (learned.fold[:96] == data.fold).all() and (learned.fold[96:] == -1).all()
        assert (learned.targets[:96] == data.targets).all()
        assert (learned.targets[96:] == said[rows].argmax(axis=1)).all()
        assert learned.counts is not None and (learned.counts[:96] == 1).all()
        np.testing.assert_allclose(learned.counts[96:], said[rows].max(axis=1))  # --weigh
        seen.add(tuple(learned.ids[96:]))
        # The pixels of a test item are its own.
        config = classes.config("alone")
        test = find_adapter(config.competition).test(classes.root)
        from PIL import Image
        shown = np.asarray(Image.open(test.images[test.ids.index(learned.ids[96])]))
        assert (learned.pixels.row(96) == shown).all() and len(learned.pixels) == len(learned.ids)
        assert (learned.pixels.take(95, 97)[1] == shown).all() and learned.pixels.lost_rows(0, 97) == []
        assert learned.pixels.frames(95, 97).shape == (2, 6)
    assert len(seen) > 1


def test_labels_that_were_changed_since_are_refused(classes: Planted, tmp_path: Path) -> None:
    file = Path(shutil.copy(classes.root / "pseudo", tmp_path / "pseudo"))
    data = loaded(classes, with_pseudo(classes, file))
    assert len(data.of_fold(0).ids) > 96
    of_all_folds(classes, file, honest=False)
    with pytest.raises(FoldpackError, match="^run 'student': pseudo.file .*pseudo was changed after this run had begun "
                                            "with it; bring the old one back, or start this run again$"):
        data.of_fold(0)


def test_they_are_never_validated_on(classes: Planted) -> None:
    classes.train("student", epochs=1, evaluate_every=1, pseudo={"file": str(classes.root / "pseudo")})
    run, teacher = read_run(classes.root / "runs/student"), read_run(classes.root / "runs/teacher")
    assert run.ids == teacher.ids and (run.targets == teacher.targets).all() and (run.fold == teacher.fold).all()
    assert run.meta.prior == teacher.meta.prior and len(oof_array(run)[0]) == 96
    told = json.loads((classes.root / "runs/student/meta.json").read_text())
    assert told["doubts"] == []


def weights_after(place: Planted, config: RunConfig) -> np.ndarray:
    """One epoch of fold 0."""
    data = loaded(place, config)
    settled = settled_run(config, place.root / "runs" / config.run, quiet)
    training = FoldTraining(settled, data, 0)
    training.epoch(0)
    return next(iter(training.plain.parameters())).detach().numpy().copy()


def test_weight_and_kind_of_label_matter(classes: Planted) -> None:
    from accelerate.utils import set_seed

    found = []
    for more in ({}, {"weight": 0.9}, {"labels": "soft"}):
        set_seed(0)
        found.append(weights_after(classes, with_pseudo(classes, **more)))
    set_seed(0)
    found.append(weights_after(classes, classes.config("student")))
    for first in range(4):
        for second in range(first):
            assert np.abs(found[first] - found[second]).max() > 1e-6


def test_the_loss_gets_weights_and_soft_labels(classes: Planted) -> None:
    from foldpack.train.sampling import item_weights

    config = with_pseudo(classes, weight=0.5, labels="soft")
    learned = loaded(classes, config).of_fold(1)
    weights = item_weights(config, learned, np.arange(len(learned.ids)))
    said = read_tensor(classes.root / "pseudo", "labels1")
    assert weights is not None and weights[0] == 1
    np.testing.assert_allclose(weights[96:], 0.5 * read_tensor(classes.root / "pseudo", "weights1"))
    items = AugmentedRows(learned, np.arange(len(learned.ids)), lambda pixels, key: pixels, 0, weights)
    np.testing.assert_allclose(items.target(96)[:-1], said[0])
    assert items.target(96)[-1] == weights[96] and items.target(0).sum() == 2
    balanced = config.model_copy(update={"weights": config.weights.model_copy(update={"kind": "balanced"})})
    both = item_weights(balanced, learned, np.arange(len(learned.ids)))
    alone = item_weights(balanced, loaded(classes, classes.config("alone")), np.arange(96))
    assert both is not None and alone is not None and not np.allclose(both[:96], alone)


def test_several_labels_are_there_from_the_upper_bound_on(labels: Planted) -> None:
    learned = loaded(labels, with_pseudo(labels)).of_fold(2)
    said = read_tensor(labels.root / "pseudo", "labels2")
    assert len(said) and ((said <= 0.4) | (said >= 0.6)).all()
    assert learned.targets.dtype == bool and (learned.targets[96:] == (said >= 0.6)).all()
    assert labels.train("student", epochs=1, evaluate_every=1, pseudo={"file": str(labels.root / "pseudo")}).folds


def test_values_are_their_own_labels(values: Planted) -> None:
    """They are chosen by how far the views, or the runs, of one fold are apart; never by other folds."""
    learned = loaded(values, with_pseudo(values)).of_fold(3)
    rows = read_tensor(values.root / "pseudo", "rows3")
    said, spread = (read_tensor(values.root / "predictions", f"{name}3") for name in ("fold", "spread"))
    assert 0 < len(rows) < 96 and rows.tolist() == np.flatnonzero(spread[:, 0] <= 1).tolist()
    np.testing.assert_allclose(learned.targets[96:], said[rows])
    assert values.train("student", epochs=1, evaluate_every=1, pseudo={"file": str(values.root / "pseudo")}).folds
    values.train("other", seed=5)
    out = values.root / "two"
    predict_folds(["teacher", "other"], "test", out, values.root, values.root / "runs", say=quiet)
    each = []
    for name in ("teacher", "other"):
        predict_folds([name], "test", values.root / name, values.root, values.root / "runs", say=quiet)
        each.append(read_tensor(values.root / name, "fold0"))
    np.testing.assert_allclose(read_tensor(out, "spread0"), np.std(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(read_tensor(out, "fold0"), np.mean(each, axis=0), atol=1e-5)
    with pytest.raises(FoldpackError, match="one run with one view has no spread"):
        choose_pseudo(values.root / "other", values.root / "x", Rules(spread=1.0), quiet)


def changed(place: Planted, out: Path, **told: object) -> Path:
    """The file of labels, saying something else."""
    info = read_labels(place.root / "pseudo", "pseudo")
    arrays = {name: tensor.numpy() for name, tensor in load_file(place.root / "pseudo").items()}
    write_labels(out, info.model_copy(update=told), arrays)
    return out


@pytest.mark.parametrize(("told", "message"), [
    ({"competition": "digits"}, "is of other competitions than the run: digits there"),
    ({"classes": CLASSES[:3]}, "is of other classes than the run: 3 there, 4 here"),
    ({"task": "multilabel"}, "is of other labels than the run: multilabel there, multiclass here"),
    ({"folds_sha256": "0" * 64}, "is of models that were trained on other folds than those of"),
    ({"content": "complete"}, "it is a file of `foldpack complete`; needed: one of `foldpack pseudo`"),
    ({"ids": [f"y{row}" for row in range(96)]}, "id 'y.*' is no test item of the competition"),
    ({"made": None}, "has nothing for fold 3, only for folds"),
])
def test_a_file_that_does_not_fit_is_refused(classes: Planted, tmp_path: Path, told: dict[str, object],
                                             message: str) -> None:
    if told == {"made": None}:
        told = {"made": read_labels(classes.root / "pseudo", "pseudo").made[:3]}
    with pytest.raises(FoldpackError, match=message):
        loaded(classes, with_pseudo(classes, changed(classes, tmp_path / "file", **told)))


def test_files_that_are_none_are_refused(classes: Planted, tmp_path: Path) -> None:
    with pytest.raises(FoldpackError, match="pseudo.file .*absent does not exist"):
        loaded(classes, with_pseudo(classes, tmp_path / "absent"))
    (tmp_path / "text").write_text("id,label\n")
    with pytest.raises(FoldpackError, match="text: cannot read it .* needed: a file of `foldpack pseudo`"):
        loaded(classes, with_pseudo(classes, tmp_path / "text"))
    with pytest.raises(FoldpackError, match="foldpack pseudo"):
        loaded(classes, with_pseudo(classes, checkpoint_path(classes.root / "runs/teacher", 0)))
    with pytest.raises(FoldpackError, match="and pseudo.sha256 wants 000000000000"):
        loaded(classes, with_pseudo(classes, sha256="0" * 64))


def test_an_image_that_is_gone_is_named_before_the_first_epoch(classes: Planted, tmp_path: Path) -> None:
    root = Path(shutil.copytree(classes.root, tmp_path / "p"))
    gone = read_labels(root / "pseudo", "pseudo").ids[int(read_tensor(root / "pseudo", "rows0")[0])]
    (root / "images" / f"{gone}.png").write_bytes(b"broken")
    config = with_pseudo(classes)
    with pytest.raises(FoldpackError, match=f"{gone}.png.*it had pixels when it was predicted"):
        load_training_set(config, find_adapter(config.competition), root, classes.folds_csv, quiet)
    predict_folds(["teacher"], "test", tmp_path / "out", root, root / "runs", say=quiet)
    info = read_labels(tmp_path / "out", "predictions")
    assert [info.ids[row] for row in info.lost] == [gone]
    choose_pseudo(tmp_path / "out", tmp_path / "chosen", Rules(confidence=0.0), quiet)
    assert len(read_tensor(tmp_path / "chosen", "rows0")) == 95


@pytest.mark.parametrize(("rules", "message"), [
    (Rules(), "choose by --confidence, --gap or --per-class"),
    (Rules(low=0.1), "--low does not choose among multiclass predictions; allowed: --confidence, --gap, --per-class"),
    (Rules(confidence=1.5), "--confidence is 1.5; a probability lies in 0 to 1"),
    (Rules(gap=1e9), "no test item is chosen for fold 0; choose less strictly"),
])
def test_rules_that_choose_nothing_are_said(classes: Planted, tmp_path: Path, rules: Rules, message: str) -> None:
    with pytest.raises(FoldpackError, match=message):
        choose_pseudo(classes.root / "predictions", tmp_path / "out", rules, quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"task": "embed", "loss": {"name": "arcface"}, "metric": "map1"}, "task 'embed' does not read pseudo"),
    ({"distill": {"file": "x"}}, "pseudo and distill: no teacher"),
    ({"weights": {"kind": "column", "column": "w"}}, "weights.column is a column of the training table"),
    ({"sampler": {"kind": "weighted", "column": "w"}}, "sampler.column is a column of the training table"),
])
def test_settings_that_do_not_go_together_are_said(classes: Planted, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FoldpackError, match=message):
        classes.config("student", pseudo={"file": "x"}, **changes)


def test_the_place_of_a_file_does_not_decide_and_its_bytes_do(classes: Planted, tmp_path: Path) -> None:
    from foldpack.settings.run import config_hash

    moved = shutil.copy(classes.root / "pseudo", tmp_path / "moved")
    other = changed(classes, tmp_path / "other", doubts=["none"])
    here, there, else_ = (config_hash(settled_run(with_pseudo(classes, Path(file)), tmp_path, quiet))
                          for file in (classes.root / "pseudo", moved, other))
    assert here == there != else_
    assert here != config_hash(settled_run(with_pseudo(classes, weight=0.9), tmp_path, quiet))


def test_doubts_are_passed_on_and_told_by_the_search(classes: Planted, tmp_path: Path) -> None:
    doubted = changed(classes, tmp_path / "doubted", doubts=["somebody peeped"])
    meta = classes.train("doubtful", epochs=1, evaluate_every=1, pseudo={"file": str(doubted)})
    assert meta.doubts == ["somebody peeped"]
    said: list[str] = []
    info = predict_folds(["doubtful"], "test", tmp_path / "again", classes.root, classes.root / "runs", say=said.append)
    assert info.doubts == ["run 'doubtful': somebody peeped"] and any("somebody peeped" in line for line in said)
    _, numbers = search_runs("x", [classes.root / "runs/doubtful", classes.root / "runs/teacher"], RunSearch(hours=1.0))
    assert any("'doubtful': its out-of-fold score" in note and "somebody peeped" in note for note in numbers["notes"])


def test_an_ensemble_speaks_by_its_members(classes: Planted, tmp_path: Path) -> None:
    classes.train("second", seed=7)
    runs = classes.root / "runs"
    spec, _ = search_runs("both", [runs / "teacher", runs / "second"], RunSearch(hours=1.0))
    first = spec.last.members[0]
    members = [first.model_copy(update={"run": run, "weight": weight, "views": read_meta(runs / run).views,
                                        "folds": [fold for fold in folds_of(runs, run)]})
               for run, weight in (("teacher", 0.9), ("second", 0.1))]
    spec = spec.with_last(members=members, plan=None)
    path = tmp_path / "both.yml"
    write_spec(path, spec)
    equal = predict_folds([str(path)], "test", tmp_path / "equal", classes.root, runs, say=quiet)
    named = predict_folds(["teacher", "second"], "test", tmp_path / "named", classes.root, runs, say=quiet)
    fitted = predict_folds([str(path)], "test", tmp_path / "fitted", classes.root, runs, fitted=True, say=quiet)
    assert named.doubts == [] and equal.doubts == [CHOSEN_DOUBT] and "blend weights were fitted" in fitted.doubts[0]
    assert [maker.weight for maker in fitted.made[0].makers] == [0.9, 0.1]
    one, two, three = (read_tensor(tmp_path / name, "fold1") for name in ("equal", "named", "fitted"))
    assert (one == two).all() and np.abs(one - three).max() > 0.01
    assert isinstance(named.made[0].makers[1], Maker)
    with pytest.raises(FoldpackError, match="--fitted takes the weights of an ensemble, and teacher is none"):
        predict_folds(["teacher"], "test", tmp_path / "x", classes.root, runs, fitted=True)


def folds_of(runs: Path, run: str) -> list:
    from foldpack.search.runs import member_of

    return member_of(read_run(runs / run), 1.0).folds


def test_the_file_says_what_it_is(classes: Planted) -> None:
    info = read_labels(classes.root / "pseudo", "pseudo")
    assert isinstance(info, LabelsInfo) and info.items == "test" and info.classes == CLASSES
    assert info.folds_sha256 == sha256_file(classes.folds_csv)
