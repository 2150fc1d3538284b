"""Students: what they are told, that it fakes no score, and that each setting matters. Labels that items lack."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import CLASSES, Planted
from small_house import tiny_config, write_small_folds
from toy_training import toy_config, toy_set

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.digits_source import write_digits
from foldpack.data.runs import read_meta, read_run
from foldpack.errors import FoldpackError
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.checks import settled_run
from foldpack.train.dataset import TrainingSet
from foldpack.train.extra_labels.chosen import choose_completions
from foldpack.train.extra_labels.fold_predictions import predict_folds
from foldpack.train.extra_labels.labels_file import OOF_DOUBT, read_labels, read_tensor, write_labels
from foldpack.train.halve import halve_run
from foldpack.train.load import load_training_set
from foldpack.train.loop.training import FoldTraining
from foldpack.train.losses.distill import soften
from foldpack.train.pages.batch import BatchAsked, batch_html, target_texts
from foldpack.train.run import train_run
from foldpack.train.steps import STEPS


def quiet(text: str) -> None:
    """Nobody reads it."""


def taught(root: Path, kind: str) -> Planted:
    """A teacher on items that have twins in other folds, and what it says of them."""
    place = Planted(root / "p", kind, twins="train", count=48)
    place.train("teacher")
    for items in ("train", "oof"):
        predict_folds(["teacher"], items, place.root / items, place.root, place.root / "runs", say=quiet)
    return place


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Read only."""
    return taught(tmp_path_factory.mktemp("distill"), "class")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Read only."""
    return taught(tmp_path_factory.mktemp("distill"), "labels")


def loaded(place: Planted, config: RunConfig) -> TrainingSet:
    settled = settled_run(config, place.root / "runs" / config.run, quiet)
    return load_training_set(settled, find_adapter(config.competition), place.root, place.folds_csv, quiet)


def student(place: Planted, items: str = "train", **more: object) -> RunConfig:
    return place.config("student", distill={"file": str(place.root / items), **more})


def test_a_student_of_its_own_folds_models_fakes_nothing_and_one_of_others_is_marked(classes: Planted) -> None:
    """The planted leak: labels by chance, and a twin of each item with a label of its own in the next fold."""
    chance = 0.25 + 3 * (0.25 * 0.75 / 96) ** 0.5
    own = classes.train("own", distill={"file": str(classes.root / "train"), "weight": 1.0})
    assert read_meta(classes.root / "runs/teacher").score < chance and own.score < chance and own.doubts == []
    others = classes.train("others", distill={"file": str(classes.root / "oof"), "weight": 1.0})
    assert others.score > 0.9 and others.doubts == [OOF_DOUBT]
    assert read_run(classes.root / "runs/others").meta.doubts == [OOF_DOUBT]


def test_completion_by_its_own_folds_models_fakes_nothing_and_by_others_is_marked(labels: Planted) -> None:
    found = {}
    for items in ("train", "oof"):
        choose_completions(labels.root / items, labels.root / f"more-{items}", 0.6, quiet)
        found[items] = labels.train(f"completed-{items}", complete={"file": str(labels.root / f"more-{items}")})
    teacher = read_meta(labels.root / "runs/teacher").score
    assert found["train"].score < teacher + 0.03 and found["train"].doubts == []
    assert found["oof"].score > teacher + 0.08 and found["oof"].doubts == [OOF_DOUBT]


@pytest.mark.parametrize("items", ["train", "oof"])
def test_what_is_certain_is_added_to_other_folds_and_nothing_taken_away(labels: Planted, tmp_path: Path,
                                                                        items: str) -> None:
    choose_completions(labels.root / items, tmp_path / "more", 0.3, quiet)
    config = labels.config("student", complete={"file": str(tmp_path / "more")})
    data = loaded(labels, config)
    for fold in (0, 3):
        said = read_tensor(labels.root / items, "oof" if items == "oof" else f"fold{fold}") >= 0.3
        learned = data.of_fold(fold)
        inside = data.fold == fold
        assert (learned.targets[inside] == data.targets[inside]).all()
        assert (learned.targets[~inside] == (data.targets | said)[~inside]).all()
        assert (learned.targets != data.targets).any() and len(learned.ids) == len(data.ids)
    choose_completions(labels.root / items, tmp_path / "fewer", 0.99999, quiet)
    fewer = loaded(labels, labels.config("student", complete={"file": str(tmp_path / "fewer")})).of_fold(0)
    assert fewer.targets.sum() < data.of_fold(0).targets.sum()


def test_an_item_that_nothing_is_said_of_gets_no_labels(labels: Planted, tmp_path: Path) -> None:
    """Of one without pixels the file has zeros, whose probability is a half."""
    choose_completions(labels.root / "train", tmp_path / "all", 0.1, quiet)
    choose_completions(told(labels, tmp_path / "less", "train", lost=[3, 9]), tmp_path / "some", 0.1, quiet)
    before, after = ({*read_tensor(tmp_path / name, "rows0").tolist()} for name in ("all", "some"))
    assert {3, 9} <= before and after == before - {3, 9}


@pytest.mark.parametrize("items", ["train", "oof"])
def test_a_student_is_told_what_the_teacher_says_softer(classes: Planted, items: str) -> None:
    data = loaded(classes, student(classes, items, temperature=3.0)).of_fold(2)
    said = read_tensor(classes.root / items, "oof" if items == "oof" else "fold2")
    assert data.teacher is not None
    np.testing.assert_allclose(data.teacher, soften(said, 3.0, True))
    row = data.target_row(5)
    assert row.shape == (8,) and row[:4].argmax() == data.targets[5] and (row[4:] == data.teacher[5]).all()


def first_loss(config: RunConfig, data: TrainingSet) -> float:
    """Of the first epoch, without augmentation."""
    torch.manual_seed(0)
    return FoldTraining(config, data, 0).epoch(0)


def test_weight_and_temperature_matter(classes: Planted) -> None:
    found = set()
    for more in ({}, {"weight": 0.9}, {"temperature": 2.0}):
        config = settled_run(student(classes, **more), classes.root, quiet)
        found.add(first_loss(config, loaded(classes, config)))
    found.add(first_loss(classes.config("student"), loaded(classes, classes.config("student"))))
    assert len(found) == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_sum_of_both_terms(weighted: bool) -> None:
    from foldpack.train.losses.distill import TeacherLoss

    config = toy_config(distill={"file": "x", "weight": 0.3, "temperature": 2.0})
    data = toy_set()
    teacher = np.random.default_rng(0).dirichlet(np.ones(3), len(data.ids)).astype(np.float32)
    data = replace(data, teacher=teacher, counts=np.full(len(data.ids), 0.5, np.float32) if weighted else None)
    step = STEPS["multiclass"](config, data)
    outputs = torch.randn(6, 3)
    rows = np.stack([data.target_row(row) for row in range(6)])
    weights = torch.full((6,), 0.5) if weighted else None
    given = torch.tensor(np.column_stack([rows, np.full(6, 0.5)]) if weighted else rows, dtype=torch.float32)
    own = step.loss(outputs, torch.tensor(rows[:, :3]), weights)
    term = TeacherLoss("multiclass", 2.0)(outputs, torch.tensor(teacher[:6]), weights)
    assert float(step.losses(outputs, given)) == pytest.approx(float(0.7 * own + 0.3 * term), rel=1e-5)


def test_values_are_taught_in_standard_deviations(tmp_path: Path) -> None:
    place = Planted(tmp_path / "p", "values", count=24)
    place.train("teacher", epochs=2, evaluate_every=2)
    predict_folds(["teacher"], "train", place.root / "train", place.root, place.root / "runs", say=quiet)
    config = settled_run(student(place, weight=1.0), place.root, quiet)
    training = FoldTraining(config, loaded(place, config), 0)
    training.data.targets[:] += 100  # its labels have no share in the loss, and its units are measured
    shown = torch.tensor(np.stack([training.data.target_row(row) for row in range(4)]), dtype=torch.float32)
    assert training.data.teacher is not None
    said = torch.tensor(training.data.teacher[:4])
    outputs = torch.randn(4, 1)
    deviation = float(loaded(place, place.config("alone")).targets[training.rows].std())
    expected = float((((outputs - said) / deviation) ** 2).mean())
    assert float(training.task.losses(outputs, shown)) == pytest.approx(expected, rel=1e-3)
    assert place.train("student", epochs=1, evaluate_every=1, distill={"file": str(place.root / "train")}).folds


def test_mixed_images_have_mixed_teachers(classes: Planted) -> None:
    config = settled_run(classes.config("mixed", distill={"file": str(classes.root / "train")},
                                        augment={"hflip": 0.0, "mixup": 1.0}), classes.root, quiet)
    assert np.isfinite(first_loss(config, loaded(classes, config)))


def told(place: Planted, out: Path, name: str, **changes: object) -> Path:
    """A file of predictions that says something else."""
    info = read_labels(place.root / name, "predictions")
    arrays = {key: read_tensor(place.root / name, key) for key in
              (["oof"] if name == "oof" else [f"fold{fold}" for fold in info.folds])}
    write_labels(out, info.model_copy(update=changes), arrays)
    return out


def test_predictions_of_other_items_or_other_labels_are_refused(classes: Planted, labels: Planted,
                                                                tmp_path: Path) -> None:
    with pytest.raises(FoldpackError, match="says nothing of training item 't000' \\(1 in all\\)"):
        ids = ["no", *read_labels(classes.root / "train", "predictions").ids[1:]]
        loaded(classes, classes.config("s", distill={"file": str(told(classes, tmp_path / "a", "train", ids=ids))}))
    with pytest.raises(FoldpackError, match="nothing of training item 't003' \\(2 in all\\), whose image could not be "
                                            "decoded then; make it again"):
        loaded(classes, classes.config("s", distill={"file": str(told(classes, tmp_path / "f", "train", lost=[3, 9]))}))
    with pytest.raises(FoldpackError, match="distill.file is of test items; needed: `foldpack predict --items train`"):
        loaded(classes, classes.config("s", distill={"file": str(told(classes, tmp_path / "b", "train",
                                                                      items="test"))}))
    with pytest.raises(FoldpackError, match="is of other labels than the run: multilabel there, multiclass here"):
        other = told(classes, tmp_path / "e", "train", task="multilabel")
        loaded(classes, classes.config("s", distill={"file": str(other)}))
    with pytest.raises(FoldpackError, match="multiclass items lack no labels"):
        choose_completions(classes.root / "train", tmp_path / "out", 0.5, quiet)
    with pytest.raises(FoldpackError, match="--above is 0; a probability lies in 0 to 1"):
        choose_completions(labels.root / "train", tmp_path / "out", 0, quiet)
    with pytest.raises(FoldpackError, match="it is of test items; needed: `foldpack predict --items train`"):
        choose_completions(told(labels, tmp_path / "c", "train", items="test"), tmp_path / "out", 0.5, quiet)
    multi = told(classes, tmp_path / "d", "train", content="complete")
    with pytest.raises(ConfigError, match="complete is for several labels an item, and these are multiclass"):
        loaded(classes, classes.config("s", complete={"file": str(multi)}))


@pytest.mark.parametrize(("changes", "message"), [
    ({"task": "embed", "loss": {"name": "arcface"}, "metric": "map1"}, "task 'embed' does not read distill"),
    ({"task": "regress", "loss": {"name": "mse"}, "metric": "rmse",
      "distill": {"file": "x", "temperature": 2.0}}, "distill.temperature is for probabilities"),
    ({"distill": {"file": "x", "weight": 0.0}}, "distill.weight: input should be greater than 0"),
    ({"distill": {"file": "x", "weight": 1.5}}, "distill.weight: input should be less than or equal to 1"),
    ({"distill": {}}, "distill.file"),
])
def test_settings_that_do_not_fit_are_said(classes: Planted, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FoldpackError, match=message):
        classes.config("student", **{"distill": {"file": "x"}, **changes})


def test_names_of_classes_are_kept(classes: Planted) -> None:
    assert read_labels(classes.root / "oof", "predictions").classes == CLASSES


def test_a_page_of_its_batches_shows_the_teacher(classes: Planted) -> None:
    config = settled_run(student(classes), classes.root, quiet)
    page = batch_html(FoldTraining(config, loaded(classes, config), 0), BatchAsked(batches=1, items=1))
    assert "teacher:" in page
    data = replace(toy_set(), teacher=np.zeros((36, 3), np.float32))
    texts = target_texts(data, torch.tensor([1.0, 0.0, 0.0, 0.25, 0.0, 0.75, 0.5]), True)
    assert texts == ["red", "teacher:", "blue 0.75", "red 0.25", "weight 0.5"]


def test_a_run_in_half_precision_keeps_its_doubts_and_needs_no_teacher(classes: Planted, tmp_path: Path) -> None:
    file = shutil.copy(classes.root / "oof", tmp_path / "oof")
    classes.train("doubtful", epochs=1, evaluate_every=1, distill={"file": str(file)})
    Path(file).unlink()
    runs = classes.root / "runs"
    halve_run(runs / "doubtful", runs / "half", classes.root, classes.folds_csv, quiet)
    assert read_run(runs / "half").meta.doubts == [OOF_DOUBT]


@pytest.mark.slow
def test_a_student_learns_digits_from_its_teacher_alone(tmp_path: Path) -> None:
    """With weight 1 it never sees a label."""
    write_digits(tmp_path / "data", tmp_path / "answers.csv", 400)
    write_small_folds(tmp_path / "data", tmp_path / "folds.csv")
    runs = tmp_path / "runs"
    config = tiny_config("teacher", epochs=12, views=["identity"])
    teacher = train_run(config, tmp_path / "data", tmp_path / "folds.csv", runs, quiet)
    predict_folds(["teacher"], "train", tmp_path / "said", tmp_path / "data", runs, say=quiet)
    told = {"file": str(tmp_path / "said"), "weight": 1.0, "temperature": 2.0}
    student = tiny_config("student", epochs=12, views=["identity"], distill=told)
    learned = train_run(student, tmp_path / "data", tmp_path / "folds.csv", runs, quiet)
    assert teacher.score > 0.8 and learned.score > 0.9 * teacher.score
