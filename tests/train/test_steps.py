"""Losses, augmentation and mixing, each against what it is defined to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel

from foldpack.settings.run import AugmentConfig, ConfigError
from foldpack.settings.training.loss import LossConfig
from foldpack.train.augment.image import Augmentation
from foldpack.train.augment.mixing import BatchMixer
from foldpack.train.losses.registry import build_loss

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
OFF = {"hflip": 0.0}


def test_bce_is_the_mean_over_items_and_classes() -> None:
    p = torch.sigmoid(LOGITS)
    direct = -(TARGETS * p.log() + (1 - TARGETS) * (1 - p).log())
    assert build_loss(LossConfig(name="bce"), "multilabel")(LOGITS, TARGETS) == pytest.approx(direct.mean().item())


def test_bce_with_a_weight_and_smoothing() -> None:
    p, soft = torch.sigmoid(LOGITS), TARGETS * 0.9 + 0.1 / 3
    direct = -(2.5 * soft * p.log() + (1 - soft) * (1 - p).log())
    loss = build_loss(LossConfig(name="bce", pos_weight=2.5, smoothing=0.1), "multilabel")
    assert loss(LOGITS, TARGETS) == pytest.approx(direct.mean().item(), rel=1e-5)


@pytest.mark.parametrize(("gamma_neg", "gamma_pos"), [(4.0, 1.0), (0.0, 0.0), (2.0, 2.0)])
def test_the_asymmetric_loss_is_timms_for_one_item_and_does_not_grow_with_the_batch(gamma_neg, gamma_pos) -> None:
    loss = build_loss(LossConfig(name="asymmetric", gamma_neg=gamma_neg, gamma_pos=gamma_pos), "multilabel")
    timms = AsymmetricLossMultiLabel(gamma_neg=gamma_neg, gamma_pos=gamma_pos)
    ones = [timms(LOGITS[row : row + 1], TARGETS[row : row + 1]).item() for row in range(2)]
    assert loss(LOGITS, TARGETS) == pytest.approx(np.mean(ones), rel=1e-5)
    assert loss(LOGITS.repeat(4, 1), TARGETS.repeat(4, 1)) == pytest.approx(np.mean(ones), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 4.0])
def test_the_asymmetric_loss_has_finite_gradients_at_extreme_logits(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, 0.0]], requires_grad=True)
    loss = build_loss(LossConfig(name="asymmetric", gamma_neg=gamma, gamma_pos=gamma), "multilabel")
    value = loss(logits, torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.5]]))
    value.backward()
    assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_cross_entropy_takes_soft_targets() -> None:
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    direct = -(soft * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    assert build_loss(LossConfig(name="cross_entropy"), "multiclass")(LOGITS, soft) == pytest.approx(direct.item())


@pytest.mark.parametrize(
    ("name", "task", "allowed"),
    [("bce", "multiclass", "cross_entropy"), ("cross_entropy", "multilabel", "bce, asymmetric")],
)
def test_a_loss_that_does_not_fit(name: str, task: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"loss '{name}' does not fit a {task} competition; allowed: {allowed}"):
        build_loss(LossConfig(name=name), task)  # type: ignore[arg-type]


def test_switched_off_nothing_happens() -> None:
    assert (Augmentation(AugmentConfig(**OFF))(IMAGE, (0,)) == IMAGE).all()
    images, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    out = BatchMixer(AugmentConfig(**OFF), torch.device("cpu"))(images, targets)
    assert torch.equal(out[0], images) and torch.equal(out[1], targets)


def test_flips_go_the_right_way() -> None:
    for name, flipped in (("hflip", IMAGE[:, ::-1]), ("vflip", IMAGE[::-1])):
        out = Augmentation(AugmentConfig(**{**OFF, name: 1.0}))(IMAGE, (0,))
        assert (out == flipped).all()


@pytest.mark.parametrize("name", ["affine", "colour", "grey", "vflip"])
def test_each_step_changes_pixels_keeps_the_form_and_follows_the_seed(name: str) -> None:
    config = AugmentConfig(**{**OFF, name: 1.0})
    outs = [Augmentation(config)(IMAGE, (seed,)) for seed in (1, 1)]
    assert outs[0].shape == IMAGE.shape and outs[0].dtype == np.uint8
    assert (outs[0] != IMAGE).any() and (outs[0] == outs[1]).all()


def test_two_flips_are_thrown_apart_from_each_other() -> None:
    """With a seed for each step they would always go together, and half of the four pictures would never be seen."""
    augment = Augmentation(AugmentConfig(hflip=0.5, vflip=0.5))
    seen = [augment(IMAGE, (0, epoch, row)).tobytes() for epoch in range(5) for row in range(80)]
    pictures = [IMAGE, IMAGE[:, ::-1], IMAGE[::-1], IMAGE[::-1, ::-1]]
    counts = [seen.count(np.ascontiguousarray(picture).tobytes()) for picture in pictures]
    assert sum(counts) == 400 and min(counts) > 70


def test_what_happens_to_an_image_does_not_follow_from_what_came_before() -> None:
    augment = Augmentation(AugmentConfig(affine=1.0, colour=1.0, grey=0.5))
    first = augment(IMAGE, (3, 1, 7))
    others = [augment(IMAGE, key) for key in ((3, 1, 8), (3, 2, 7), (4, 1, 7))]
    assert (augment(IMAGE, (3, 1, 7)) == first).all() and all((other != first).any() for other in others)


def test_the_edge_is_repeated_outside_the_image() -> None:
    white = np.full((16, 16, 3), 255, dtype=np.uint8)
    config = AugmentConfig(**OFF, affine=1.0, shift=0.3, rotate=45.0, scale=0.3)
    for seed in range(5):
        assert (Augmentation(config)(white, (seed,)) == 255).all()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("multilabel", [True, False])
def test_mixing_mixes_targets_as_it_mixes_pixels(name: str, multilabel: bool) -> None:
    torch.manual_seed(0)
    count = 8
    targets = torch.eye(count) if not multilabel else (torch.eye(count) + torch.eye(count).roll(1, 0)).clamp(max=1)
    images = torch.eye(count)[:, :, None, None].expand(count, count, 16, 16)[:, :3].contiguous()
    mixer = BatchMixer(AugmentConfig(**{**OFF, name: 1.0}), torch.device("cpu"))
    mixed, soft = mixer(images, targets)
    assert mixed.shape == images.shape and soft.shape == targets.shape
    assert soft.sum() == pytest.approx(targets.sum().item(), rel=1e-5)
    assert ((soft > 0) & (soft < 1)).any() and soft.min() >= 0 and soft.max() <= 1
    shares = mixed.mean(dim=(2, 3))  # how much of item k's own channel is left in it
    own = soft[:3].diagonal() if not multilabel else None
    assert own is None or shares[:3].diagonal().tolist() == pytest.approx(own.tolist(), abs=1e-5)


def test_a_single_image_is_not_mixed() -> None:
    images, targets = torch.rand(1, 3, 8, 8), torch.eye(2)[:1]
    out = BatchMixer(AugmentConfig(**OFF, mixup=1.0), torch.device("cpu"))(images, targets)
    assert torch.equal(out[0], images) and torch.equal(out[1], targets)


def test_erasing_touches_a_part_of_each_image_and_no_target() -> None:
    torch.manual_seed(0)
    images, targets = torch.zeros(6, 3, 32, 32), torch.eye(6)
    out, same = BatchMixer(AugmentConfig(**OFF, erase=1.0), torch.device("cpu"))(images.clone(), targets)
    touched = (out != 0).any(dim=1).float().mean(dim=(1, 2))
    assert torch.equal(same, targets) and (touched > 0).all() and (touched < 0.6).all()
