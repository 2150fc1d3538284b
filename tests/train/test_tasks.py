"""Training on values and on identities: they learn, and their weights give their predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_house import tiny_config, write_small_folds
from view_arrays import oof_array, predict_logits, views_array

from foldpack.competitions.digits_source import write_digits
from foldpack.data.geometry import CanvasKind
from foldpack.data.runs import checkpoint_path, gallery_path, read_run
from foldpack.ensemble.retrieve.retriever import identity_scores
from foldpack.files import sha256_file
from foldpack.metrics.registry import get_metric
from foldpack.models.checkpoint import CheckpointInfo, ModelError, read_checkpoint, restore_net
from foldpack.models.embedder import build_embedder
from foldpack.models.gallery import read_gallery
from foldpack.models.regressor import build_regressor
from foldpack.predict.pixel_source import HeldPixels
from foldpack.search.decide.new_class import best_new_class
from foldpack.search.decide.queries import query_weights
from foldpack.settings.label_kinds import QueriesConfig
from foldpack.settings.run import ConfigError, RunConfig, parse_config
from foldpack.settings.training.loss import LOSSES_OF_TASK
from foldpack.train.dataset import TrainingSet
from foldpack.train.fit import fit_fold
from foldpack.train.halve import halve_run
from foldpack.train.loop.states import data_digest
from foldpack.train.loop.training import FoldTraining
from foldpack.train.run import train_run
from foldpack.train.steps import ValueStep, VectorStep

CPU = torch.device("cpu")


def bright_set(task: str, none: bool = False, count: int = 48) -> TrainingSet:
    """Noise, brighter or darker: the brightness is the value, its third the identity; `none`: the third is none."""
    chance = np.random.default_rng(0)
    level = chance.integers(0, 120, count)
    pixels = (chance.integers(0, 60, (count, 16, 16, 3)) + level[:, None, None, None]).astype(np.uint8)
    values = np.stack([1000 + 5.0 * level, -level / 100], axis=1)
    targets = values if task == "regress" else (level // 40).astype(np.int64)
    names = ["thousands", "hundredths"] if task == "regress" else ["dark", "grey", "bright"]
    return TrainingSet([str(k) for k in range(count)], HeldPixels(CanvasKind(16), pixels), targets,
                       np.arange(count) % 3, names, task, none)


def toy_config(task: str, **changes: object) -> RunConfig:
    loss = {"regress": {"name": "mse"}, "embed": {"name": "arcface", "scale": 16.0}}[task]
    metric = {"regress": "rmse", "embed": "map1"}[task]
    data: dict = {
        "run": "toy", "competition": "digits", "task": task, "loss": loss, "metric": metric,
        "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}},
        "optim": {"lr": 3e-3, "warmup_epochs": 0}, "augment": {"hflip": 0.0}, "epochs": 6, "batch_size": 8}
    return parse_config({**data, **changes}, "toy")


def quiet(entry: dict[str, object]) -> None:
    """A log that nobody reads."""


def info_of(config: RunConfig, width: int) -> CheckpointInfo:
    return CheckpointInfo(run="toy", fold=0, epoch=0, score=0.0, n_classes=width, net=config.net, config_sha256="",
                          folds_sha256="", seconds_per_image=0.0)


@pytest.mark.parametrize("loss", ["mse", "l1", "smooth_l1", "huber", "pinball"])
def test_values_are_learned_in_their_own_units(loss: str) -> None:
    """Two targets of very different size: the loss sees both alike, and the answers are in the units of each."""
    config, data = toy_config("regress", loss={"name": loss}, epochs=14), bright_set("regress")
    result = fit_fold(config, data, 1, quiet)
    inside = data.targets[data.fold == 1]
    assert views_array(result.views).shape == (1, 16, 2) and result.gallery is None
    errors = np.sqrt(((views_array(result.views)[0] - inside) ** 2).mean(axis=0))
    assert (errors < 0.7 * inside.std(axis=0)).all()
    net = restore_net(result.weights, info_of(config, 2), "toy", build_regressor)
    again = predict_logits(net, config.net, data.pixels.canvases[data.fold == 1], ["identity"], CPU, 5)
    np.testing.assert_allclose(again, views_array(result.views), rtol=1e-5)


def test_a_network_of_values_knows_mean_and_deviation_of_its_training_rows() -> None:
    data = bright_set("regress")
    result = fit_fold(toy_config("regress", epochs=1), data, 2, quiet)
    outside = data.targets[data.fold != 2]
    np.testing.assert_allclose(result.weights["1.mean"], outside.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.weights["1.deviation"], outside.std(axis=0), rtol=1e-6)


def test_a_target_that_is_always_the_same_is_no_division_by_zero() -> None:
    data = bright_set("regress")
    result = fit_fold(toy_config("regress", epochs=1), replace(data, targets=np.full((48, 2), 7.0)), 0, quiet)
    assert np.isfinite(views_array(result.views)).all() and result.weights["1.deviation"].tolist() == [1.0, 1.0]


def test_grades_are_scored_at_their_best_cuts() -> None:
    data = bright_set("regress")
    grades = (data.targets[:, :1] - 1000) // 200
    config = toy_config("regress", metric="qwk")
    result = fit_fold(config, replace(data, targets=grades, classes=["grade"]), 1, quiet)
    assert 0.7 < result.score <= 1


@pytest.mark.parametrize("loss", ["cross_entropy", "ordinal"])
def test_values_are_learned_as_bins_too(loss: str) -> None:
    """The network gives logits of bins in training and values ever after, also from its checkpoint alone."""
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}, "bins": 6}
    config, data = toy_config("regress", loss={"name": loss}, net=net, epochs=14), bright_set("regress")
    result = fit_fold(config, data, 1, quiet)
    inside, outside = data.targets[data.fold == 1], data.targets[data.fold != 1]
    assert views_array(result.views).shape == (1, 16, 2)
    errors = np.sqrt(((views_array(result.views)[0] - inside) ** 2).mean(axis=0))
    assert (errors < 0.7 * inside.std(axis=0)).all()
    ends = result.weights["1.centres"][:, [0, -1]].numpy()
    np.testing.assert_allclose(ends, np.stack([outside.min(axis=0), outside.max(axis=0)], axis=1), rtol=1e-6)
    again = restore_net(result.weights, info_of(config, 2), "toy", build_regressor)
    values = predict_logits(again, config.net, data.pixels.canvases[data.fold == 1], ["identity"], CPU, 5)
    np.testing.assert_allclose(values, views_array(result.views), rtol=1e-5)


@pytest.mark.parametrize("loss", ["ordinal", "qwk"])
def test_grades_are_learned_in_their_order(loss: str) -> None:
    """What is predicted is the mean of the bins, whatever the loss, and has learned to agree with the grades."""
    data = bright_set("regress")
    grades = (data.targets[:, :1] - 1000) // 200
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}, "bins": 3}
    config = toy_config("regress", metric="qwk", loss={"name": loss}, net=net, epochs=14)
    result = fit_fold(config, replace(data, targets=grades, classes=["grade"]), 1, quiet)
    assert 0.7 < result.score <= 1
    again = restore_net(result.weights, info_of(config, 1), "toy", build_regressor)
    values = predict_logits(again, config.net, data.pixels.canvases[data.fold == 1], ["identity"], CPU, 5)
    np.testing.assert_allclose(values, views_array(result.views), rtol=1e-5)
    with pytest.raises(ConfigError, match="run 'toy': loss 'qwk' is of one target, and there are 2: thousands"):
        ValueStep(toy_config("regress", loss={"name": "qwk"}, net=net), data)


def test_values_are_scored_within_their_range() -> None:
    data = bright_set("regress")
    step = ValueStep(toy_config("regress", range=[1000, 1400]), replace(data, targets=data.targets[:, :1]))
    said = np.array([[900.0], [1200.0], [2000.0]])
    assert step.score_answers(get_metric("rmse"), np.array([[1000.0], [1200.0], [1400.0]]), said) == 0.0
    assert ValueStep(toy_config("regress"), data).score_answers(get_metric("mae"), said, said + 1) == 1.0


@pytest.mark.parametrize("loss", LOSSES_OF_TASK["embed"])
def test_identities_are_learned(loss: str) -> None:
    config, data = toy_config("embed", loss={"name": loss}, embed={"dim": 8}, ema=0.5), bright_set("embed")
    result = fit_fold(config, data, 1, quiet)
    assert views_array(result.views).shape == (1, 16, 8) and result.score > 0.7
    np.testing.assert_allclose(np.linalg.norm(views_array(result.views), axis=2), 1, atol=1e-6)
    assert result.gallery is not None and len(result.gallery.vectors) == 32
    assert result.gallery.identities.tolist() == data.targets[data.fold != 1].tolist()
    net = restore_net(result.weights, info_of(config, 8), "toy", build_embedder)
    again = predict_logits(net, config.net, data.pixels.canvases[data.fold != 1], ["identity"], CPU, 5)[0]
    np.testing.assert_allclose(again, result.gallery.vectors, atol=1e-5)  # the gallery is of the very weights


def test_the_vectors_of_the_loss_learn_at_their_own_rate() -> None:
    config = toy_config("embed", loss={"name": "proxy_anchor", "lr": 0.5})
    training = FoldTraining(config, bright_set("embed"), 0)
    before = training.task.loss.of.proxies.detach().clone()
    assert training.rate() == 3e-3 and training.optimizer.param_groups[-1]["lr"] == 0.5
    training.epoch(0)
    assert (training.task.loss.of.proxies.detach() - before).abs().max() > 0.1


def test_class_vectors_are_in_the_state_with_fresh_gradients_and_not_in_the_weights() -> None:
    """What a training goes on from has them, what a kernel gets does not."""
    config = toy_config("embed", loss={"name": "proxy_anchor", "lr": 0.5}, embed={"dim": 8})
    training = FoldTraining(config, bright_set("embed"), 0)
    training.epoch(0)
    state = training.holders["loss"].state_dict()
    assert [one.shape for one in state.values()] == [(3, 8)]
    assert all(one.grad is None or not one.grad.any() for one in training.task.loss.parameters())
    result = training.evaluate(0)
    assert not any(one.shape == (3, 8) for one in result.weights.values())
    assert result.weights.keys() == training.plain.state_dict().keys()


def test_an_identity_that_no_other_fold_has_is_none_of_these_there() -> None:
    data = bright_set("embed", none=True)
    targets = np.where(data.fold == 0, np.where(data.targets == 1, 2, data.targets), data.targets)
    alone = replace(data, targets=np.where(data.fold == 0, data.targets, np.minimum(data.targets, 0)))
    assert (alone.truths[alone.targets == 1] == 2).all() and (alone.truths[alone.targets != 1] ==
                                                              alone.targets[alone.targets != 1]).all()
    assert (replace(alone, none=False, classes=["dark", "grey", "bright"]).truths == alone.targets).all()
    assert (replace(data, targets=targets).truths == targets).all()


def test_the_score_of_an_epoch_is_that_of_the_queries_that_the_test_set_has() -> None:
    data = bright_set("embed", none=True)
    scores = {}
    for share in (None, 0.01, 0.97):
        queries = QueriesConfig(none=share)
        step = VectorStep(toy_config("embed", metric="map3"), replace(data, queries=queries))
        table = np.tile(np.array([0.9, 0.8, 0.0], dtype=np.float32), (48, 1))  # of everyone: dark, then grey
        scores[share] = step.score(get_metric("map3"), np.arange(48), table)
        weights = query_weights(data.targets, 2, queries)
        assert scores[share] == best_new_class(table, data.targets, 3, weights).score
    assert scores[None] < scores[0.01] < 0.97 < scores[0.97]  # most of what is known is dark; all new: first place
    assert data_digest(data) != data_digest(replace(data, queries=QueriesConfig(none=0.2)))


def test_items_of_no_identity_are_queries_only() -> None:
    """Nothing is learned from them, they are in no gallery, and where they belong in a ranking is fitted."""
    data = bright_set("embed", none=True)
    result = fit_fold(toy_config("embed", metric="map3"), data, 0, quiet)
    assert result.gallery is not None and set(result.gallery.identities.tolist()) == {0, 1}
    assert len(result.gallery.vectors) == int(((data.fold != 0) & (data.targets < 2)).sum())
    inside = data.targets[data.fold == 0]
    scores = identity_scores(views_array(result.views)[0], result.gallery.vectors, result.gallery.identities, 3)
    assert result.score >= get_metric("map3")(inside, np.column_stack([scores[:, :2], np.full(16, 2.0)]))  # all none


@pytest.mark.parametrize(("changes", "words"), [
    ({"task": "embed", "loss": {"name": "mse"}}, "loss 'mse' does not fit a embed"),
    ({"task": "regress", "loss": {"name": "cross_entropy"}, "metric": "rmse"}, "loss 'cross_entropy' does not fit a"),
    ({"task": "regress", "loss": {"name": "mse"}}, "metric 'accuracy' of probs does not fit"),
    ({"task": "regress", "loss": {"name": "mse"}, "net": {"arch": "test_vit", "size": 16, "bins": 5}, "metric": "rmse"},
     "loss 'mse' does not fit a run of values with net.bins; cross_entropy, ordinal, qwk go with bins, and all others"),
    ({"net": {"arch": "test_vit", "size": 16, "bins": 5}}, "task 'classify' does not read net.bins; it is read by reg"),
    ({"range": [0, 1]}, "task 'classify' does not read range; it is read by regress"),
    ({"task": "regress", "loss": {"name": "mse"}, "range": [3, 3]}, "range [3.0, 3.0] does not ascend; write [lowest"),
    ({"embed": {"dim": 8}}, "task 'classify' does not read embed; it is read by embed"),
    ({"task": "embed", "loss": {"name": "arcface"}, "augment": {"mixup": 0.5}}, "leave out augment.mixup"),
    ({"task": "regress", "loss": {"name": "mse"}, "merge": "gmean"}, "merge 'gmean' is for probabilities"),
    ({"loss": {"name": "cross_entropy", "margin": 0.1}}, "loss 'cross_entropy' does not read margin"),
    ({"competition": "imet", "task": "embed", "loss": {"name": "arcface"}}, "does not fit the multilabel labels"),
])
def test_what_does_not_fit_the_task_is_refused_before_training(changes: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train_run(tiny_config(**changes), tmp_path, tmp_path / "folds.csv", tmp_path / "runs", quiet)
    assert words in str(caught.value)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 digits and two folds of them."""
    root = tmp_path_factory.mktemp("digits")
    write_digits(root / "data", root / "answers.csv", 100)
    write_small_folds(root / "data", root / "folds.csv")
    return root


def train_digits(root: Path, runs: Path, said: list[str], **changes: object) -> None:
    train_run(tiny_config("tiny", views=["identity", "hflip"], epochs=1, **changes), root / "data", root / "folds.csv",
              runs, said.append)


def test_a_run_of_values_is_written_and_taken_up(digits: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        train_digits(digits, tmp_path, said, task="regress", loss={"name": "mse"}, metric="rmse")
    run = read_run(tmp_path / "tiny")
    assert run.meta.task == "regress" and run.meta.classes == ["label"] and run.meta.prior == [run.targets.mean()]
    assert oof_array(run).shape == (2, 80, 1) and run.targets.shape == (80, 1)
    assert run.meta.score == pytest.approx(np.sqrt(((oof_array(run).mean(axis=0) - run.targets) ** 2).mean()), rel=1e-6)
    assert sum("finished before, kept" in line for line in said) == 2


def test_a_run_of_vectors_has_a_gallery_for_each_fold(digits: Path, tmp_path: Path) -> None:
    """Bound to its weights: another fold's, or one of weights that changed, is not taken for finished."""
    asked: dict = {"task": "embed", "loss": {"name": "arcface"}, "metric": "map5", "embed": {"dim": 8}}
    said: list[str] = []
    for _ in range(2):
        train_digits(digits, tmp_path, said, **asked)
    run, folder = read_run(tmp_path / "tiny"), tmp_path / "tiny"
    assert sum("finished before, kept" in line for line in said) == 2
    assert oof_array(run).shape == (2, 80, 8) and run.meta.embed is not None and run.meta.embed.dim == 8
    scores = np.zeros((80, 10), dtype=np.float32)
    for fold in run.meta.folds:
        assert fold.gallery == sha256_file(gallery_path(folder, fold.fold))
        gallery = read_gallery(gallery_path(folder, fold.fold), fold.sha256)
        mean = oof_array(run).mean(axis=0)[run.fold == fold.fold]
        vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        scores[run.fold == fold.fold] = identity_scores(vectors, gallery.vectors, gallery.identities, 10)
    assert run.meta.score == pytest.approx(get_metric("map5")(run.targets, scores), abs=1e-6)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for recall in [line["recall"] for line in lines if "best_epoch" in line]:
        assert list(recall) == ["1", "2", "4", "8", "16", "32"]
        assert 0 < recall["1"] <= recall["2"] <= recall["32"] <= 1
    with pytest.raises(ModelError, match="the gallery of other weights"):
        read_gallery(gallery_path(folder, 0), run.meta.folds[1].sha256)
    gallery_path(folder, 0).unlink()
    said.clear()
    train_digits(digits, tmp_path, said, **asked)
    assert [line.split(":")[0] for line in said if "kept" in line] == ["tiny fold 1"]


def test_an_embedder_in_half_precision_gets_a_gallery_of_its_own(digits: Path, tmp_path: Path) -> None:
    train_digits(digits, tmp_path, [], task="embed", loss={"name": "arcface"}, metric="map5", embed={"dim": 8})
    halve_run(tmp_path / "tiny", tmp_path / "half", digits / "data", digits / "folds.csv", quiet)
    digest = sha256_file(checkpoint_path(tmp_path / "half", 1))
    gallery = read_gallery(gallery_path(tmp_path / "half", 1), digest)
    whole = read_gallery(gallery_path(tmp_path / "tiny", 1), read_run(tmp_path / "tiny").meta.folds[1].sha256)
    assert 0 < np.abs(gallery.vectors - whole.vectors).max() < 0.05
    assert read_checkpoint(checkpoint_path(tmp_path / "half", 1))[1].head == "vectors"


@pytest.mark.parametrize("layer_decay", [None, 0.7])
def test_a_neck_learns_at_the_rate_of_the_last_layer(layer_decay: float | None) -> None:
    config = toy_config("embed", net={"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16}, "neck": "bn"},
                        optim={"lr": 3e-3, "warmup_epochs": 0, "layer_decay": layer_decay}, embed={"dim": 8})
    training = FoldTraining(config, bright_set("embed"), 0)
    scale = training.plain[1].weight
    [group] = [one for one in training.optimizer.param_groups if any(each is scale for each in one["params"])]
    assert group["lr"] * group.get("lr_scale", 1) == 3e-3 and group["weight_decay"] == 0
    training.epoch(0)
    assert (scale != 1).any() and not training.plain[1].bias.any()
    assert training.evaluate(0).views[0].columns["vector"].shape == (16, 8)
