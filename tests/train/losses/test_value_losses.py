"""Losses of values and of bins, against numpy, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_pinball_loss

from foldpack.settings.training.loss import LossConfig
from foldpack.train.losses.registry import build_loss

CHANCE = np.random.default_rng(1)
LOGITS = torch.from_numpy(CHANCE.normal(0, 2, (40, 5)).astype(np.float32))
GRADES = CHANCE.integers(0, 5, 40)
SHARES = torch.eye(5)[torch.from_numpy(GRADES)]
WEIGHTS = torch.from_numpy(CHANCE.integers(0, 4, 40).astype(np.float32))


def loss_of(**settings: object) -> torch.nn.Module:
    return build_loss(LossConfig(**settings), "regress")  # type: ignore[arg-type]


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_pinball_loss_is_scikit_learns(quantile: float) -> None:
    truth, said = CHANCE.normal(size=(40, 3)), CHANCE.normal(size=(40, 3))
    loss = loss_of(name="pinball", quantile=quantile)
    theirs = mean_pinball_loss(truth, said, alpha=quantile)
    assert loss(torch.from_numpy(said), torch.from_numpy(truth)) == pytest.approx(theirs)


def test_the_minimum_of_the_pinball_loss_is_the_quantile() -> None:
    truth = torch.from_numpy(CHANCE.exponential(size=(2001, 1)))
    grid = np.linspace(0, 4, 801)
    costs = [loss_of(name="pinball", quantile=0.8)(torch.full_like(truth, place), truth).item() for place in grid]
    assert grid[int(np.argmin(costs))] == pytest.approx(np.quantile(truth.numpy(), 0.8), abs=0.01)


def test_the_ordinal_loss_is_bce_at_every_threshold_between_bins() -> None:
    probs = LOGITS.double().softmax(dim=1).numpy()
    direct = []
    for threshold in range(4):
        more, said = GRADES > threshold, probs[:, threshold + 1 :].sum(axis=1)
        direct.append(-np.where(more, np.log(said), np.log(1 - said)))
    assert loss_of(name="ordinal")(LOGITS, SHARES) == pytest.approx(np.mean(direct), rel=1e-5)


def test_a_far_miss_costs_the_ordinal_loss_more_than_a_near_one() -> None:
    sure = [torch.eye(5)[[k]] * 8 for k in range(5)]
    truth = torch.eye(5)[[0]]
    ordinal = [loss_of(name="ordinal")(logits, truth).item() for logits in sure]
    plain = [loss_of(name="cross_entropy")(logits, truth).item() for logits in sure]
    assert ordinal == sorted(ordinal) and ordinal[4] > 3 * ordinal[1] and plain[1] == pytest.approx(plain[4])


def test_a_target_between_two_bins_draws_the_ordinal_loss_to_their_shares() -> None:
    target = torch.tensor([[0.0, 0.3, 0.7, 0.0, 0.0]])
    logits = torch.zeros(1, 5, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def again() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss_of(name="ordinal")(logits, target)
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(again)  # type: ignore[arg-type]
    np.testing.assert_allclose(logits.softmax(dim=1).detach().numpy(), target.numpy(), atol=0.01)


def test_the_kappa_loss_of_sure_answers_is_one_minus_kappa() -> None:
    said = CHANCE.integers(0, 5, 40)
    kappa = cohen_kappa_score(GRADES, said, weights="quadratic")
    logits = torch.eye(5)[torch.from_numpy(said)] * 100
    assert loss_of(name="qwk")(logits, SHARES) == pytest.approx(1 - kappa, rel=1e-5)
    weighted = cohen_kappa_score(GRADES, said, weights="quadratic", sample_weight=WEIGHTS.numpy())
    assert loss_of(name="qwk")(logits, SHARES, WEIGHTS) == pytest.approx(1 - weighted, rel=1e-5)


def test_the_kappa_loss_of_unsure_answers_is_that_of_soft_counts() -> None:
    probs, count = LOGITS.double().softmax(dim=1).numpy(), 40
    confusion = SHARES.double().numpy().T @ probs
    distance = (np.arange(5)[:, None] - np.arange(5)) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / count
    direct = (distance * confusion).sum() / (distance * expected).sum()
    assert loss_of(name="qwk")(LOGITS, SHARES) == pytest.approx(direct, rel=1e-5)


@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "huber", "pinball", "cross_entropy", "ordinal"])
def test_weights_multiply_the_loss_of_each_item(name: str) -> None:
    loss = loss_of(name=name)
    alone = torch.stack([loss(LOGITS[k : k + 1], SHARES[k : k + 1]) for k in range(40)])
    assert loss(LOGITS, SHARES, WEIGHTS) == pytest.approx((alone * WEIGHTS).mean().item(), rel=1e-5)
    assert loss(LOGITS, SHARES) == pytest.approx(alone.mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "ordinal", "qwk"])
def test_bins_have_finite_gradients_at_any_logit(name: str) -> None:
    for logits in (LOGITS * 1e4, torch.zeros(40, 5), torch.eye(5)[[2] * 40] * 200):
        logits = logits.clone().requires_grad_()
        for targets in (SHARES, torch.eye(5)[[2] * 40]):
            value = loss_of(name=name)(logits, targets)
            value.backward()
            assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()
