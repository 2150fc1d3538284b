"""The teacher's term, against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foldpack.train.losses.distill import TeacherLoss, soften

TEMPERATURES = [0.5, 1.0, 4.0]


def some(seed: int, rows: int = 6, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (rows, classes))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softened_probabilities_have_logits_that_are_divided(temperature: float) -> None:
    logits = some(0)
    whole = np.exp(logits)
    soft = np.exp(logits / temperature)
    np.testing.assert_allclose(soften(whole / whole.sum(1, keepdims=True), temperature, True),
                               soft / soft.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)
    apart = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(soften(apart, temperature, False), 1 / (1 + np.exp(-logits / temperature)), rtol=1e-3)


def test_certainty_stays_finite() -> None:
    for exclusive in (True, False):
        assert np.isfinite(soften(np.array([[1.0, 0.0]]), 2.0, exclusive)).all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_of_classes_it_is_the_divergence(temperature: float) -> None:
    logits = some(1)
    teacher = np.exp(some(2)) / np.exp(some(2)).sum(1, keepdims=True)
    cool = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
    expected = temperature**2 * (teacher * np.log(teacher / cool)).sum(1)
    loss = TeacherLoss("multiclass", temperature)
    args = torch.tensor(logits), torch.tensor(teacher)
    np.testing.assert_allclose(loss.each(*args), expected, rtol=1e-6)
    weights = torch.tensor([1.0, 0, 2, 0, 0, 3])
    assert float(loss(*args, weights)) == pytest.approx(float((expected * weights.numpy()).mean()))
    assert float(loss.each(torch.tensor(np.log(teacher)) * temperature, args[1]).abs().max()) < 1e-6


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_of_labels_it_is_the_cross_entropy(temperature: float) -> None:
    logits, teacher = some(3), 1 / (1 + np.exp(-some(4)))
    cool = 1 / (1 + np.exp(-logits / temperature))
    expected = -temperature**2 * (teacher * np.log(cool) + (1 - teacher) * np.log(1 - cool)).mean(1)
    found = TeacherLoss("multilabel", temperature).each(torch.tensor(logits), torch.tensor(teacher))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_of_values_it_is_the_squared_error() -> None:
    found = TeacherLoss("regress", 1.0).each(torch.tensor(some(5)), torch.tensor(some(6)))
    np.testing.assert_allclose(found, ((some(5) - some(6)) ** 2).mean(1))
