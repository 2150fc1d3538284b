"""Losses of classes and of several labels, each against what it is defined to be, written out in numpy or by a peer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchvision.ops import sigmoid_focal_loss

from foldpack.settings.training.loss import LossConfig
from foldpack.train.losses.registry import build_loss

CHANCE = np.random.default_rng(0)
LOGITS = torch.from_numpy(CHANCE.normal(0, 2, (6, 5)).astype(np.float32))
LABELS = torch.from_numpy((CHANCE.random((6, 5)) < 0.4).astype(np.float32))
MIXED = 0.3 * LABELS + 0.7 * LABELS.roll(1, 0)
SOFT = torch.from_numpy(CHANCE.dirichlet(np.ones(5), 6).astype(np.float32))
WEIGHTS = torch.tensor([0.0, 1.0, 2.0, 0.5, 3.0, 1.0])
SEVERAL = ("bce", "asymmetric", "focal", "soft_f", "forgiving")


def loss_of(task: str = "multilabel", **settings: object) -> torch.nn.Module:
    return build_loss(LossConfig(**settings), task)  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_of_labels_is_bce_that_looks_away_from_what_is_right(gamma: float) -> None:
    p, y = LOGITS.sigmoid().numpy().astype(float), MIXED.numpy().astype(float)
    right = p * y + (1 - p) * (1 - y)
    direct = ((1 - right) ** gamma * -(y * np.log(p) + (1 - y) * np.log(1 - p))).sum(axis=1).mean()
    assert loss_of(name="focal", gamma=gamma)(LOGITS, MIXED) == pytest.approx(direct, rel=1e-5)


def test_alpha_is_the_share_of_the_positives() -> None:
    theirs = sigmoid_focal_loss(LOGITS, LABELS, alpha=0.25, gamma=2).sum(dim=1).mean()
    assert loss_of(name="focal", alpha=0.25)(LOGITS, LABELS) == pytest.approx(theirs.item())
    by_hand = [loss_of(name="focal", alpha=0.25)(LOGITS[:, :1], torch.full((6, 1), one)).item() for one in (0.0, 1.0)]
    plain = [loss_of(name="focal")(LOGITS[:, :1], torch.full((6, 1), one)).item() for one in (0.0, 1.0)]
    assert by_hand == pytest.approx([0.75 * plain[0], 0.25 * plain[1]])


def test_focal_of_classes_is_cross_entropy_that_looks_away_from_what_is_right() -> None:
    classes = torch.tensor([0, 1, 2, 3, 4, 0])
    p = LOGITS.softmax(dim=1)[torch.arange(6), classes].numpy().astype(float)
    loss = loss_of("multiclass", name="focal", gamma=2.0)
    assert loss(LOGITS, torch.eye(5)[classes]) == pytest.approx((-((1 - p) ** 2) * np.log(p)).mean(), rel=1e-5)
    parts = [loss(LOGITS, torch.eye(5)[[k] * 6]).item() for k in range(5)]  # linear in a mixed target
    shares = SOFT[:1].expand(6, 5)
    assert loss(LOGITS, shares) == pytest.approx(float(np.dot(parts, SOFT[0].numpy())), rel=1e-5)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_soft_f_is_one_minus_f_of_every_item_and_counts_where_all_is_sure(beta: float) -> None:
    p, y = LOGITS.sigmoid().numpy().astype(float), LABELS.numpy().astype(float)
    right = (p * y).sum(axis=1)
    precision, recall = right / p.sum(axis=1), right / np.maximum(y.sum(axis=1), 1)
    f = (1 + beta**2) * precision * recall / np.maximum(beta**2 * precision + recall, 1e-12)
    assert loss_of(name="soft_f", beta=beta)(LOGITS, LABELS) == pytest.approx(1 - f.mean(), rel=1e-5)
    from sklearn.metrics import fbeta_score
    found = (LOGITS > 0).numpy()
    theirs = fbeta_score(LABELS.numpy() > 0, found, beta=beta, average="samples", zero_division=0.0)
    assert loss_of(name="soft_f", beta=beta)(LOGITS.sign() * 50, LABELS) == pytest.approx(1 - theirs, abs=1e-5)


@pytest.mark.parametrize("w", [0.5, 1.0, 3.0])
def test_the_forgiving_loss_is_bce_with_heavier_positives_plus_a_constant(w: float) -> None:
    loss = loss_of(name="forgiving", forgiveness=w)
    both = binary_cross_entropy_with_logits(LOGITS, MIXED) + w * binary_cross_entropy_with_logits(LOGITS * MIXED, MIXED)
    assert loss(LOGITS, MIXED) == pytest.approx(both.item(), rel=1e-6)
    constant = w * math.log(2) * (1 - LABELS).mean().item()
    heavier = loss_of(name="bce", pos_weight=1 + w)
    assert loss(LOGITS, LABELS) == pytest.approx(heavier(LOGITS, LABELS).item() + constant, rel=1e-6)
    assert abs(loss(LOGITS, MIXED) - heavier(LOGITS, MIXED) - w * math.log(2) * (1 - MIXED).mean()) > 1e-3
    slopes = []
    for each in (loss, heavier):
        logits = LOGITS.clone().requires_grad_()
        each(logits, LABELS).backward()
        slopes.append(logits.grad)
    torch.testing.assert_close(*slopes)


def test_a_sum_is_the_sum_of_its_parts_by_weight() -> None:
    def direct(w: float, **other: object) -> float:
        return loss_of(name="bce", smoothing=0.1)(LOGITS, MIXED).item() + w * loss_of(**other)(LOGITS, MIXED).item()

    focal = loss_of(name="sum", parts={"bce": 1.0, "focal": 0.3}, smoothing=0.1, gamma=3.0)
    assert focal(LOGITS, MIXED) == pytest.approx(direct(0.3, name="focal", gamma=3.0))
    f2 = loss_of(name="sum", parts={"bce": 1.0, "soft_f": 0.7}, smoothing=0.1)
    assert f2(LOGITS, MIXED) == pytest.approx(direct(0.7, name="soft_f"))
    items = torch.stack([f2(LOGITS[k : k + 1], MIXED[k : k + 1]) for k in range(6)])
    assert f2(LOGITS, MIXED, WEIGHTS) == pytest.approx((items * WEIGHTS).mean().item(), rel=1e-5)


@pytest.mark.parametrize(("task", "name"), [("multiclass", "cross_entropy"), ("multiclass", "focal"),
                                            *(("multilabel", name) for name in SEVERAL)])
def test_weights_multiply_the_loss_of_each_item(task: str, name: str) -> None:
    loss, targets = loss_of(task, name=name), SOFT if task == "multiclass" else MIXED
    alone = torch.stack([loss(LOGITS[k : k + 1], targets[k : k + 1]) for k in range(6)])
    assert loss(LOGITS, targets, WEIGHTS) == pytest.approx((alone * WEIGHTS).mean().item(), rel=1e-5)
    assert loss(LOGITS, targets) == pytest.approx(alone.mean().item(), rel=1e-5)


def test_without_weights_torchs_own_mean_is_kept_to_the_bit() -> None:
    many, soft = torch.randn(999, 7), torch.rand(999, 7).softmax(dim=1)
    assert torch.equal(loss_of("multiclass", name="cross_entropy", smoothing=0.1)(many, soft),
                       cross_entropy(many, soft, label_smoothing=0.1))
    assert torch.equal(loss_of(name="bce")(many, soft), binary_cross_entropy_with_logits(many, soft))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("task", "name"), [("multiclass", "cross_entropy"), ("multiclass", "focal"),
                                            *(("multilabel", name) for name in SEVERAL)])
def test_gradients_of_half_precision_outputs_are_finite_at_any_logit(task: str, name: str, dtype: torch.dtype) -> None:
    """As in a step: the network's outputs are half, the loss is not. With 1103 labels, none and all of them right."""
    logits = torch.zeros(4, 1103, dtype=dtype)
    logits[0], logits[1, ::2], logits[2], logits[3, ::3] = 60000.0, -60000.0, -30.0, 17.0
    logits.requires_grad_()
    targets = torch.zeros(4, 1103)
    targets[1], targets[3, 5] = 1.0, 1.0
    if task == "multiclass":
        targets = torch.eye(1103)[[3, 1, 1102, 5]]
    value = loss_of(task, name=name)(logits.float(), targets)
    value.backward()
    assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 0


def test_an_item_without_labels_costs_one_and_pulls_nowhere() -> None:
    logits = torch.zeros(1, 5, requires_grad=True)
    value = loss_of(name="soft_f")(logits, torch.zeros(1, 5))
    value.backward()
    assert value == 1 and logits.grad is not None and (logits.grad == 0).all()
