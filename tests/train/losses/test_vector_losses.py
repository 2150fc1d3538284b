"""Losses of embeddings against numpy, written from their papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners

from foldpack.settings.training.loss import LossConfig
from foldpack.train.losses.registry import build_loss

CHANCE = np.random.default_rng(2)
IDENTITIES = torch.from_numpy(CHANCE.integers(0, 6, 24))
UNIT = torch.nn.functional.normalize(torch.from_numpy(CHANCE.normal(size=(24, 8)).astype(np.float32)))
ROWS = np.arange(24)
WEIGHTS = torch.from_numpy(CHANCE.random(24).astype(np.float32) * 2)
BY_ITEM = ("arcface", "sub_center_arcface", "cosface", "adacos", "cosine_softmax")


def loss_of(weighted: bool = False, **settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_loss(LossConfig(**settings), "embed", 6, 8, weighted)  # type: ignore[arg-type]


def class_vectors(loss: torch.nn.Module) -> np.ndarray:
    """(C, 8) of length 1."""
    [vectors] = loss.parameters()
    found = vectors.detach().double().numpy()
    found = found if found.shape[1] == 8 else found.T
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def cross_entropy_of(logits: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(-(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))[ROWS, IDENTITIES.numpy()].mean())


@pytest.mark.parametrize("settings", [{}, {"scale": 30.0, "margin": 11.0}, {"scale": 8.0}])
@pytest.mark.parametrize("name", ["arcface", "sub_center_arcface", "cosface", "cosine_softmax"])
def test_softmax_of_cosines_with_its_margin(name: str, settings: dict) -> None:
    settings = dict(settings)
    if name == "cosface" and "margin" in settings:
        settings["margin"] = 0.2
    if name == "cosine_softmax":
        settings.pop("margin", None)
    loss = loss_of(name=name, **settings, **({"centers": 2} if name == "sub_center_arcface" else {}))
    cosines = UNIT.double().numpy() @ class_vectors(loss).T
    if name == "sub_center_arcface":
        cosines = cosines.reshape(24, 6, 2).max(axis=2)
    right = cosines[ROWS, IDENTITIES.numpy()]
    if name == "cosface":
        right = right - settings.get("margin", 0.35)
    elif name != "cosine_softmax":
        margin = np.radians(settings.get("margin", 28.6))
        angle = np.arccos(right)
        right = np.where(angle <= np.pi - margin, np.cos(angle + margin), right - margin * np.sin(margin))
    cosines[ROWS, IDENTITIES.numpy()] = right
    scale = settings.get("scale", 20.0 if name == "cosine_softmax" else 64.0)
    assert loss(UNIT, IDENTITIES).item() == pytest.approx(cross_entropy_of(cosines * scale), rel=1e-4)


def test_a_sub_centre_is_one_of_so_many() -> None:
    assert [len(class_vectors(loss_of(name="sub_center_arcface", centers=k))) for k in (2, 5)] == [12, 30]


def test_the_scale_of_adacos_follows_its_paper() -> None:
    loss = loss_of(name="adacos")
    assert loss.scale == pytest.approx(math.sqrt(2) * math.log(5))
    cosines, scale, right = UNIT.double().numpy() @ class_vectors(loss).T, float(loss.scale), IDENTITIES.numpy()
    for _ in range(3):
        sums = [sum(math.exp(scale * cosines[i, k]) for k in range(6) if k != right[i]) for i in range(24)]
        angles = sorted(math.acos(cosines[i, right[i]]) for i in range(24))
        scale = math.log(sum(sums) / 24) / math.cos(min(math.pi / 4, angles[11]))  # torch's median: the lower one
        assert loss(UNIT, IDENTITIES).item() == pytest.approx(cross_entropy_of(cosines * scale), rel=1e-4)
        assert loss.scale == pytest.approx(scale, rel=1e-5)
    loss.eval()
    loss(UNIT * -1, IDENTITIES)
    assert loss.scale == pytest.approx(scale, rel=1e-5)


def test_adacos_of_two_identities_has_a_scale() -> None:
    loss = build_loss(LossConfig(name="adacos"), "embed", 2, 8)
    value = loss(UNIT[:4], torch.tensor([0, 1, 1, 0]))
    value.backward()
    assert loss.scale >= 1 and torch.isfinite(loss.vectors.grad).all() and loss.vectors.grad.abs().max() > 0


def triplet_by_hand(miner: str, margin: float) -> float:
    points, who = UNIT.double().numpy(), IDENTITIES.numpy()
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    losses = []
    for a, p, n in np.ndindex(24, 24, 24):
        if a == p or who[a] != who[p] or who[a] == who[n]:
            continue
        gap = distance[a, n] - distance[a, p]
        counts = {"all": True, "semihard": 0 < gap <= margin, "hard": gap <= 0}[miner]
        if counts and margin - gap > 0:
            losses.append(margin - gap)
    return float(np.mean(losses))


@pytest.mark.parametrize("miner", ["all", "semihard", "hard"])
@pytest.mark.parametrize("margin", [0.2, 0.6])
def test_a_triplet_costs_what_the_near_stranger_lacks_of_the_margin(miner: str, margin: float) -> None:
    loss = loss_of(name="triplet", miner=miner, margin=margin)
    assert not list(loss.parameters())
    assert loss(UNIT, IDENTITIES).item() == pytest.approx(triplet_by_hand(miner, margin), rel=1e-4)


def test_the_hardest_triplet_of_each_item() -> None:
    points, who, margin = UNIT.double().numpy(), IDENTITIES.numpy(), 0.3
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    kin, same = who[:, None] == who, np.eye(24, dtype=bool)
    farthest = np.where(kin & ~same, distance, -np.inf).max(axis=1)
    nearest = np.where(kin, np.inf, distance).min(axis=1)
    found = (margin + farthest - nearest)[np.isfinite(farthest)]
    loss = loss_of(name="triplet", miner="batch_hard", margin=margin)
    assert loss(UNIT, IDENTITIES).item() == pytest.approx(found[found > 0].mean(), rel=1e-4)


def test_proxy_anchor_is_that_of_its_paper() -> None:
    """arXiv 2003.13911, with a margin of 0.1 and a scale of 32 unless others are asked for."""
    for settings, margin, scale in (({}, 0.1, 32.0), ({"margin": 0.3, "scale": 8.0}, 0.3, 8.0)):
        loss = loss_of(name="proxy_anchor", **settings)
        cosines = UNIT.double().numpy() @ class_vectors(loss).T
        own = IDENTITIES.numpy()[:, None] == np.arange(6)
        attract = np.log1p(np.where(own, np.exp(-scale * (cosines - margin)), 0).sum(axis=0))
        repel = np.log1p(np.where(own, 0, np.exp(scale * (cosines + margin))).sum(axis=0))
        expected = attract[own.any(axis=0)].mean() + repel.mean()
        assert loss(UNIT, IDENTITIES).item() == pytest.approx(expected, rel=1e-4)


def semihard(margin: float) -> torch.nn.Module:
    return miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")


@pytest.mark.parametrize(("settings", "theirs", "miner"), [
    ({"name": "arcface"}, lambda: losses.ArcFaceLoss(6, 8), None),
    ({"name": "sub_center_arcface"}, lambda: losses.SubCenterArcFaceLoss(num_classes=6, embedding_size=8), None),
    ({"name": "cosface"}, lambda: losses.CosFaceLoss(6, 8), None),
    ({"name": "proxy_anchor"}, lambda: losses.ProxyAnchorLoss(6, 8, margin=0.1, alpha=32), None),
    ({"name": "cosine_softmax"}, lambda: losses.NormalizedSoftmaxLoss(6, 8, temperature=0.05), None),
    ({"name": "triplet", "miner": "all"}, losses.TripletMarginLoss, None),
    ({"name": "triplet", "margin": 0.2}, lambda: losses.TripletMarginLoss(margin=0.2), lambda: semihard(0.2)),
    ({"name": "triplet", "miner": "batch_hard"}, losses.TripletMarginLoss, miners.BatchHardMiner),
    ({"name": "triplet", "miner": "batch_hard", "memory": 30},
     lambda: losses.CrossBatchMemory(losses.TripletMarginLoss(), 8, 30, miners.BatchHardMiner()), None),
])
def test_values_and_gradients_are_those_of_pytorch_metric_learning(settings: dict, theirs, miner) -> None:
    ours = loss_of(**settings)
    torch.manual_seed(0)
    other, mined = theirs(), None if miner is None else miner()
    for batch in range(3):
        rows = torch.arange(24).roll(5 * batch)[:16]
        grads = []
        for call in (lambda vectors, who: ours(vectors, who),
                     lambda vectors, who: other(vectors, who, None if mined is None else mined(vectors, who))):
            vectors = UNIT[rows].clone().requires_grad_()
            value = call(vectors, IDENTITIES[rows])
            grads.append((value.item(), *torch.autograd.grad(value, vectors)))
        assert grads[0][0] == pytest.approx(grads[1][0], rel=1e-6) and grads[0][0] > 0
        torch.testing.assert_close(grads[0][1], grads[1][1])


def remembered_by_hand(seen: list[torch.Tensor], size: int, margin: float) -> float:
    """Triplets of the last batch with the last `size` items of all."""
    rows = torch.cat(seen)
    here, kept = list(range(len(rows) - len(seen[-1]), len(rows))), list(range(max(0, len(rows) - size), len(rows)))
    points, who = UNIT[rows].double().numpy(), IDENTITIES[rows].numpy()
    found = []
    for a in here:
        for p in kept:
            for n in kept:
                if p != a and who[p] == who[a] != who[n]:
                    found.append(margin + np.linalg.norm(points[a] - points[p]) - np.linalg.norm(points[a] - points[n]))
    return float(np.mean([one for one in found if one > 0]))


def test_a_batch_is_compared_with_earlier_ones_and_a_state_goes_on() -> None:
    chance = np.random.default_rng(6)
    batches = [torch.from_numpy(chance.choice(24, 8, replace=False)) for _ in range(6)]
    asked = {"name": "triplet", "miner": "all", "margin": 0.2, "memory": 20}
    loss, seen = loss_of(**asked), []
    for number, rows in enumerate(batches):
        seen.append(rows)
        if number == 4:  # killed, and taken up again
            state = {name: one.clone() for name, one in loss.state_dict().items()}
            loss = loss_of(**asked)
            loss.load_state_dict(state)
        assert loss(UNIT[rows], IDENTITIES[rows]).item() == pytest.approx(remembered_by_hand(seen, 20, 0.2), rel=1e-4)


def test_a_batch_without_a_triplet_costs_nothing_and_has_a_gradient() -> None:
    vectors = UNIT.clone().requires_grad_()
    value = loss_of(name="triplet")(vectors, torch.zeros(24, dtype=torch.int64))
    value.backward()
    assert value == 0 and vectors.grad is not None and (vectors.grad == 0).all()


@pytest.mark.parametrize("name", BY_ITEM)
def test_weights_multiply_the_loss_of_each_item(name: str) -> None:
    loss = loss_of(weighted=True, name=name).eval()
    alone = torch.stack([loss(UNIT[k : k + 1], IDENTITIES[k : k + 1]) for k in range(24)])
    assert loss(UNIT, IDENTITIES, WEIGHTS).item() == pytest.approx((alone * WEIGHTS).mean().item(), rel=1e-4)
    assert loss(UNIT, IDENTITIES).item() == pytest.approx(alone.mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", [*BY_ITEM, "proxy_anchor", "triplet"])
def test_half_precision_vectors_have_finite_gradients(name: str) -> None:
    vectors = UNIT.half().requires_grad_()
    loss = loss_of(name=name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(vectors, IDENTITIES)
    value.backward()
    assert value.dtype == torch.float32 and vectors.grad is not None and torch.isfinite(vectors.grad).all()
    assert vectors.grad.abs().max() > 0
