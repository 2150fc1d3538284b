"""What an epoch has, against counts by hand and peers; how much items count; and what is refused before the first."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_metric_learning.samplers import MPerClassSampler
from sklearn.utils.class_weight import compute_sample_weight
from small_house import tiny_config, write_small_folds
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from toy_training import STRONG, quiet, toy_config, toy_set

from foldpack.competitions.digits_source import write_digits
from foldpack.errors import DataError
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.train.augment.image import Augmentation
from foldpack.train.dataset import AugmentedRows, TrainingSet
from foldpack.train.fit import fit_fold
from foldpack.train.loop.training import FoldTraining
from foldpack.train.run import train_run
from foldpack.train.sampling import build_order, classes_of, item_weights

SIZES = (40, 12, 7, 1)  # of the classes


def uneven_set() -> TrainingSet:
    """Items of four classes of very different size, shuffled; all in fold 0 but the last item, whose class has 40."""
    classes = np.random.default_rng(3).permutation(np.repeat(np.arange(4), SIZES))
    last = int(np.flatnonzero(classes == 0)[-1])
    classes = np.append(np.delete(classes, last), 0)
    data = toy_set(count=60)
    numbers = {"quality": np.arange(60.0), "none": np.zeros(60)}
    return replace(data, targets=classes, classes=list("abcd"), fold=np.arange(60) // 59, numbers=numbers)


ROWS = np.arange(59)


def drawn(epoch: int = 0, seed: int = 5, **sampler: object) -> list[int]:
    """The rows of an epoch."""
    order = build_order(toy_config(sampler=sampler), uneven_set(), ROWS, seed)
    order.epoch = epoch
    found = [key[1] for key in order]
    assert len(found) == len(order) and all(key[0] == epoch for key in order)
    return found


def per_class(rows: list[int]) -> list[int]:
    return [Counter(uneven_set().targets[rows].tolist())[name] for name in range(4)]


def test_shuffled_is_the_order_that_runs_always_had() -> None:
    for epoch in range(3):
        assert drawn(epoch) == np.random.default_rng((5, epoch)).permutation(59).tolist()


@pytest.mark.parametrize(("sampler", "counts"), [
    ({"kind": "per_class", "least": 10}, [39, 12, 10, 10]),
    ({"kind": "per_class", "most": 9}, [9, 9, 7, 1]),
    ({"kind": "per_class", "least": 5, "most": 10}, [10, 10, 7, 5]),
    ({"kind": "per_class", "least": 20, "most": 20}, [20, 20, 20, 20]),
])
def test_small_classes_are_repeated_and_large_ones_cut(sampler: dict, counts: list[int]) -> None:
    rows = drawn(**sampler)
    assert per_class(rows) == counts
    for name in range(4):  # an item comes again only when all of its class have come
        times = Counter(row for row in rows if uneven_set().targets[row] == name)
        there = (uneven_set().targets[:59] == name).sum()
        assert max(times.values()) - (min(times.values()) if len(times) == there else 0) <= 1
    assert rows != sorted(rows)


def test_what_is_cut_is_drawn_anew_in_every_epoch() -> None:
    large = [{row for row in drawn(epoch, kind="per_class", most=9) if uneven_set().targets[row] == 0}
             for epoch in range(30)]
    assert len({frozenset(rows) for rows in large}) > 25 and len(set().union(*large)) == 39


def test_balanced_epochs_have_as_many_of_each_class() -> None:
    extra = Counter()
    for epoch in range(200):
        counts = per_class(drawn(epoch, kind="balanced"))
        assert sum(counts) == 59 and set(counts) == {14, 15}
        extra[counts.index(14)] += 1
    assert min(extra.values()) > 25  # of 200, 50 are expected of each class


def test_weighted_items_come_as_often_as_their_weight_says() -> None:
    count = 2000
    times = Counter(row for epoch in range(count) for row in drawn(epoch, kind="weighted", column="quality"))
    expected = np.arange(59) / np.arange(59).sum() * 59 * count
    assert times[0] == 0 and len(drawn(kind="weighted", column="quality")) == 59
    deviation = (np.array([times[row] for row in range(1, 59)]) - expected[1:]) / np.sqrt(expected[1:])
    assert np.abs(deviation).max() < 4.5 and 0.7 < deviation.std() < 1.3


@pytest.mark.parametrize("m", [2, 4])
def test_every_batch_has_m_of_each_class_as_pytorch_metric_learning_has_it(m: int) -> None:
    def batches(rows: list[int]) -> list[list[int]]:
        return [rows[start : start + 8] for start in range(0, len(rows), 8)]

    classes = uneven_set().targets[:59]
    theirs = list(MPerClassSampler(classes, m, batch_size=8, length_before_new_iter=59))
    for rows in (drawn(kind="m_per_class", m=m), theirs):
        assert len(rows) == 56
        for batch in batches(rows):
            counts = Counter(classes[batch].tolist())
            assert sorted(counts.values()) == [m] * (8 // m)
            for name in counts:
                if SIZES[name] > m:
                    assert len({row for row in batch if classes[row] == name}) == m
    ours = drawn(kind="m_per_class", m=m)
    assert {tuple(sorted(Counter(classes[batch].tolist()))) for batch in batches(ours)} != {(0, 1)}


@pytest.mark.parametrize("sampler", [
    {}, {"kind": "per_class", "least": 9}, {"kind": "balanced"}, {"kind": "weighted", "column": "quality"},
    {"kind": "m_per_class", "m": 4}])
def test_an_order_follows_from_seed_and_epoch_alone(sampler: dict) -> None:
    first = drawn(3, **sampler)
    assert drawn(3, **sampler) == first
    assert drawn(4, **sampler) != first and drawn(3, seed=6, **sampler) != first
    order = build_order(toy_config(sampler=sampler), uneven_set(), ROWS, 5)
    for order.epoch in (0, 2, 1, 3):  # whatever was drawn before, and however often
        for _ in order:
            pass
    assert [key[1] for key in order] == first


def test_an_item_that_comes_again_looks_different() -> None:
    order = build_order(toy_config(sampler={"kind": "per_class", "least": 30}), uneven_set(), ROWS, 5)
    keys = [key for key in order if uneven_set().targets[key[1]] == 3]
    assert sorted(len(key) for key in keys) == [2] + [3] * 29 and len(set(keys)) == 30
    seen = AugmentedRows(uneven_set(), ROWS, Augmentation(toy_config(augment=STRONG).augment), 0)
    assert len({seen[key][0].numpy().tobytes() for key in keys}) == 30


@pytest.mark.parametrize("sampler", [{"kind": "per_class", "least": 20}, {"kind": "m_per_class", "m": 4}])
def test_worker_processes_change_no_weight(sampler: dict) -> None:
    results = [fit_fold(toy_config(sampler=sampler, epochs=2, augment=STRONG, workers=workers), toy_set(), 1, quiet)
               for workers in (0, 2)]
    assert all(torch.equal(results[0].weights[name], results[1].weights[name]) for name in results[0].weights)


def test_epochs_are_as_long_as_their_sampler_says() -> None:
    training = FoldTraining(toy_config(sampler={"kind": "per_class", "least": 20}), toy_set(), 0)
    training.epoch(0)
    assert training.updates_per_epoch == training.progress.updates == 7  # 60 items in batches of 8
    assert len(training.loader) == 7


def test_the_class_of_several_labels_is_the_rarest() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1]], dtype=bool)  # 3, 2, 2 items
    data = replace(toy_set("multilabel", 5), targets=labels)
    assert classes_of(data, "x").tolist() == [1, 2, 0, 3, 1]


def test_whole_numbers_are_classes_and_other_values_are_not() -> None:
    grades = replace(toy_set(count=6), targets=np.array([[0.0], [3.0], [1.0], [0.0], [0.0], [1.0]]), task="regress",
                     classes=["grade"])
    assert classes_of(grades, "x").tolist() == [0, 3, 1, 0, 0, 1]
    with pytest.raises(ConfigError, match="x goes by class, and the targets are values: grade; it takes a single"):
        classes_of(replace(grades, targets=grades.targets + 0.5), "x")


# ---- weights ----


def test_balanced_weights_are_scikit_learns() -> None:
    weights = item_weights(toy_config(weights={"kind": "balanced"}), uneven_set(), ROWS)
    assert weights is not None
    np.testing.assert_allclose(weights[:59], compute_sample_weight("balanced", uneven_set().targets[:59]), rtol=1e-6)
    assert item_weights(toy_config(), uneven_set(), ROWS) is None


def toy_training(task: str, config: RunConfig, quality: np.ndarray) -> FoldTraining:
    return FoldTraining(config, replace(toy_set(task), numbers={"quality": quality}), 0)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 1.0}, {"cutmix": 1.0}])
@pytest.mark.parametrize(("task", "loss"), [("multiclass", "cross_entropy"), ("multilabel", "bce")])
def test_a_weight_comes_to_the_loss_with_its_item_and_is_mixed_with_it(task: str, loss: str, mixing: dict) -> None:
    quality = np.random.default_rng(1).random(36) * 3
    config = toy_config(loss={"name": loss}, metric="accuracy" if task == "multiclass" else "f2",
                        augment={"hflip": 0.0, **mixing}, weights={"kind": "column", "column": "quality"})
    training = toy_training(task, config, quality)
    rows_of = {training.data.pixels.row(row).tobytes(): row for row in range(36)}
    [groups, *_] = training.loader
    [(pixels, targets)] = groups
    rows = [rows_of[picture.numpy().tobytes()] for picture in pixels.cpu()]
    plain = torch.from_numpy(np.stack([training.data.target_row(row) for row in rows]))
    weights = torch.from_numpy(quality[rows]).float()
    assert torch.equal(targets.cpu(), torch.cat([plain, weights[:, None]], dim=1))
    torch.manual_seed(4)
    _, mixed = training.mixer(training.net_input(pixels), targets)
    outputs = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(0))
    share = (mixed[:, -1] - weights) / (weights.roll(1) - weights)  # both mixers pair an item with the one before
    assert bool(mixing) == bool(share.abs().max() > 1e-3)
    torch.testing.assert_close(mixed[:, :-1], plain + share[:, None] * (plain.roll(1, 0) - plain), atol=1e-4, rtol=1e-4)
    direct = {"cross_entropy": cross_entropy, "bce": binary_cross_entropy_with_logits}[loss]
    apart = direct(outputs, mixed[:, :-1], reduction="none").reshape(len(rows), -1).mean(dim=1)
    assert training.task.losses(outputs, mixed).item() == pytest.approx((apart * mixed[:, -1]).mean().item(), rel=1e-5)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_items_of_no_weight_teach_nothing(task: str) -> None:
    """Half of the items are labelled wrong and weigh nothing: their labels change no gradient, and weights do."""
    config = toy_config(loss={"name": "cross_entropy" if task == "multiclass" else "bce"}, epochs=1,
                        metric="accuracy" if task == "multiclass" else "f2",
                        weights={"kind": "column", "column": "quality"})
    right = replace(toy_set(task), numbers={"quality": (np.arange(36) % 2).astype(float)})
    wrong_targets = right.targets.copy()
    wrong_targets[::2] = wrong_targets[[1, 2, 0] * 6]
    ones = replace(right, numbers={"quality": np.ones(36)})
    results = [fit_fold(config, data, 0, quiet).weights["head.weight"]
               for data in (right, replace(right, targets=wrong_targets), ones)]
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize(("task", "changes"), [
    ("regress", {"loss": {"name": "mse"}, "metric": "rmse"}),
    ("regress", {"loss": {"name": "ordinal"}, "metric": "rmse",
                 "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}, "bins": 4}}),
    ("embed", {"loss": {"name": "cosface"}, "metric": "map1"})])
def test_weights_come_to_values_and_identities_too(task: str, changes: dict) -> None:
    targets = np.arange(36) % 3 if task == "embed" else np.stack([np.arange(36) % 5, np.arange(36) % 7], 1) * 1.0
    data = replace(toy_set(), targets=targets, task=task, classes=["a", "b", "c"][: 3 - (task == "regress")],
                   numbers={"quality": np.random.default_rng(0).random(36)})
    config = toy_config(task=task, weights={"kind": "column", "column": "quality"}, **changes)
    training, plain = FoldTraining(config, data, 0), FoldTraining(toy_config(task=task, **changes), data, 0)
    [(pixels, batch)] = next(iter(training.loader))
    [(_, bare)] = next(iter(plain.loader))
    assert torch.equal(batch[:, :-1].squeeze(1) if task == "embed" else batch[:, :-1], bare.float())
    plain.task.loss.load_state_dict(training.task.loss.state_dict())
    outputs = training.net(training.net_input(pixels))
    alone = torch.stack([plain.task.losses(outputs[k : k + 1], bare[k : k + 1]) for k in range(len(bare))])
    assert training.task.losses(outputs, batch).item() == pytest.approx((alone * batch[:, -1]).mean().item(), rel=1e-4)
    assert np.isfinite(training.epoch(0))


# ---- what is refused ----


@pytest.mark.parametrize(("changes", "message"), [
    ({"sampler": {"kind": "balanced", "m": 2}}, "sampler: sampler 'balanced' does not read m; it is read by m_per"),
    ({"sampler": {"kind": "per_class"}}, "sampler: sampler 'per_class' needs least or most"),
    ({"sampler": {"kind": "weighted"}}, "sampler: sampler 'weighted' needs column"),
    ({"sampler": {"kind": "per_class", "least": 3, "most": 2}}, "sampler.least 3 is above sampler.most 2"),
    ({"sampler": {"kind": "most"}}, "sampler.kind: input should be 'shuffled', 'per_class', 'balanced', 'weighted' or"),
    ({"weights": {"kind": "column"}}, "weights: weights 'column' needs column, the name of one"),
    ({"weights": {"column": "x"}}, "weights: weights 'none' does not read column; it is read by column"),
])
def test_settings_that_do_not_fit_together(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        toy_config(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), [
    ({"sampler": {"kind": "m_per_class", "m": 3}}, "run 'toy': sampler.m 3 does not fit batch_size 8: it must div"),
    ({"sampler": {"kind": "m_per_class", "m": 2}, "batch_size": 10},
     "sampler.m 2 does not fit batch_size 10: a batch would have 5 classes, and there are 4; set a larger m or a sm"),
    ({"sampler": {"kind": "m_per_class", "m": 40}, "batch_size": 80},
     "there are 59 training items, fewer than a batch has; lower batch_size"),
    ({"sampler": {"kind": "weighted", "column": "none"}}, "sampler.column 'none' is 0 for all 59 training items "),
    ({"weights": {"kind": "column", "column": "none"}}, "weights.column 'none' is 0 for all 59 training items "),
])
def test_what_does_not_fit_the_items_is_said_before_the_first_epoch(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FoldTraining(toy_config(**changes), uneven_set(), 1)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 digits in 3 folds, with columns beside the labels."""
    root = tmp_path_factory.mktemp("sampled")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv", 3)
    table = pd.read_csv(root / "data/train.csv", dtype=str)
    table["quality"] = [str(row % 3) for row in range(len(table))]
    table["below"] = ["-1"] + ["1"] * (len(table) - 1)
    table["words"] = "good"
    table.to_csv(root / "data/train.csv", index=False)
    return root


def train(digits: Path, tmp_path: Path, **changes: object) -> None:
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    train_run(tiny_config("tiny", net=net, epochs=1, **changes), digits / "data", digits / "folds.csv",
              tmp_path / "runs", quiet)


def test_a_column_of_the_training_table_is_read_from_the_file_to_the_loss(digits: Path, tmp_path: Path) -> None:
    train(digits, tmp_path, sampler={"kind": "weighted", "column": "quality"},
          weights={"kind": "column", "column": "quality"}, folds=[0])
    assert (tmp_path / "runs/tiny/meta.json").exists()


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"sampler": {"kind": "weighted", "column": "qality"}}, DataError,
     "train.csv: column 'qality' of sampler.column is missing: did you mean 'quality'? Allowed: "),
    ({"weights": {"kind": "column", "column": "words"}}, DataError, "' is 'good'; needed: a finite number"),
    ({"weights": {"kind": "column", "column": "below"}}, DataError, "' is -1; as weights.column it must be 0 or more"),
    ({"sampler": {"kind": "m_per_class", "m": 5}}, ConfigError, "run 'tiny': sampler.m 5 does not fit batch_size "),
    ({"loss": {"name": "proxy_anchor"}, "task": "embed", "metric": "map5", "weights": {"kind": "balanced"}},
     ConfigError, "loss 'proxy_anchor' compares the items of a batch with each other, so weights"),
])
def test_bad_columns_and_samplers_are_refused_before_anything_is_written(
        digits: Path, tmp_path: Path, changes: dict, error: type, message: str) -> None:
    with pytest.raises(error) as caught:
        train(digits, tmp_path, **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "runs/tiny").exists()
