"""Flipped images as identities of their own: pixels, labels, what the loss learns, and what nobody else sees of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.data.geometry import CanvasKind
from foldpack.errors import FoldpackError
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import RunConfig, parse_config
from foldpack.train.dataset import TrainingSet
from foldpack.train.fit import fit_fold
from foldpack.train.images.flipped import FLIPS, learned_set
from foldpack.train.loop.training import FoldTraining
from foldpack.train.pages.batch import target_texts

CHANCE = np.random.default_rng(1)


def pictures(none: bool, count: int = 40) -> TrainingSet:
    pixels = CHANCE.integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    classes = ["a", "b", "c", "new"] if none else ["a", "b", "c"]
    return TrainingSet([f"i{k}" for k in range(count)], HeldPixels(CanvasKind(16), pixels),
                       CHANCE.integers(0, len(classes), count), np.arange(count) % 3, classes, "embed", none,
                       numbers={"worth": np.arange(float(count))})


def config_of(**changes: object) -> RunConfig:
    data = {"run": "r", "competition": "digits", "task": "embed", "loss": {"name": "arcface", "scale": 16.0},
            "metric": "map1", "net": {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16}}, "embed": {"dim": 8},
            "augment": {"hflip": 0.0, "identity_flips": ["hflip", "turn"]}, "epochs": 1, "batch_size": 8}
    return parse_config({**data, **changes}, "r")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(list(FLIPS)), min_size=1, max_size=3, unique=True), st.booleans(), st.integers(0, 2))
def test_every_learned_item_is_there_again_for_each_flip(flips: list[str], none: bool, fold: int) -> None:
    data = pictures(none)
    learned = learned_set(config_of(augment={"hflip": 0.0, "identity_flips": flips}), data, fold)
    known = [row for row in range(40) if data.fold[row] != fold and data.targets[row] < 3]
    assert len(learned.ids) == 40 + len(known) * len(flips) == len(learned.pixels) == len(learned.numbers["worth"])
    assert learned.learned_identities == 3 * (1 + len(flips)) and learned.identities == 3
    turned = {"hflip": np.fliplr, "vflip": np.flipud, "turn": lambda image: np.rot90(image, 2)}
    row = 40
    for place, flip in enumerate(flips, 1):
        for own in known:
            np.testing.assert_array_equal(learned.pixels.row(row), turned[flip](data.pixels.row(own)))
            assert learned.label_row(row) == 3 * place + data.targets[own] and learned.fold[row] == -1
            assert learned.ids[row] == data.ids[own] and learned.numbers["worth"][row] == own
            row += 1
    assert learned.prior() == data.prior()
    np.testing.assert_array_equal(learned.truths[:40], data.truths)


def test_without_flips_nothing_is_added() -> None:
    data = pictures(True)
    assert learned_set(config_of(augment={"hflip": 0.0}), data, 0) is data


@pytest.mark.parametrize("sampler", [{}, {"sampler": {"kind": "m_per_class", "m": 2}}])
def test_the_loss_learns_them_and_nobody_else_hears_of_them(sampler: dict) -> None:
    """The gallery has the identities that were asked for, the network is as wide as ever, the kernel knows none."""
    data, config = pictures(True), config_of(**sampler)
    training = FoldTraining(config, data, 0)
    assert training.task.loss.of.W.shape == (8, 9)  # 3 identities, 3 times
    learned = int(((data.fold != 0) & (data.targets < 3)).sum())
    assert len(training.rows) == 3 * learned
    result = fit_fold(config, data, 0, lambda entry: None)
    assert result.gallery is not None and len(result.gallery.vectors) == learned
    assert set(result.gallery.identities.tolist()) <= {0, 1, 2}
    assert len(result.views[0].columns["vector"]) == int((data.fold == 0).sum())
    plain = fit_fold(config_of(augment={"hflip": 0.0}), data, 0, lambda entry: None)
    assert {name: one.shape for name, one in result.weights.items()} == {
        name: one.shape for name, one in plain.weights.items()}
    assert any((result.weights[name] != one).any() for name, one in plain.weights.items())


def test_the_page_of_a_batch_names_what_was_flipped() -> None:
    learned = learned_set(config_of(), pictures(True), 0)
    told = [target_texts(learned, torch.tensor(label), False) for label in (1, 3 + 2, 6 + 0)]
    assert told == [["b"], ["c, flipped"], ["a, flipped"]]


def test_what_was_flipped_has_no_say_in_the_truth() -> None:
    data = replace(pictures(True), targets=np.where(np.arange(40) == 0, 2, np.arange(40) % 2))  # i0 is the only c
    learned = learned_set(config_of(), data, 0)
    assert data.truths[0] == 3 == learned.truths[0] and (data.truths[1:] == data.targets[1:]).all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"augment": {"identity_flips": ["hflip"]}}, "hflip is 0.5, which keeps the identity of a flipped image, and"),
    ({"augment": {"hflip": 0.0, "vflip": 0.1, "identity_flips": ["hflip"]}}, "vflip is 0.1, which keeps the identity"),
    ({"augment": {"hflip": 0.0, "identity_flips": ["turn", "turn"]}}, "identity_flips ['turn', 'turn']: one stands"),
    ({"task": "classify", "embed": {}, "loss": {"name": "cross_entropy"}},
     "task 'classify' does not read augment.identity_flips; it is read by embed"),
    ({"task": "classify", "embed": {}, "loss": {"name": "cross_entropy"}, "augment": {},
      "net": {"arch": "resnet18", "size": 32, "neck": "bn"}}, "task 'classify' does not read net.neck; it is read"),
])
def test_what_does_not_fit_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(FoldpackError) as caught:
        config_of(**changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)
