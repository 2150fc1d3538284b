"""Crops, sides, transforms by name and mixing: each option matters, and each is what it is said to be."""

from __future__ import annotations

import inspect
import random

import numpy as np
import pytest
import torch
from scipy import ndimage
from small_house import tiny_config

from foldpack.competitions.adapters import get_competition
from foldpack.data.geometry import CanvasKind, canvas_kind
from foldpack.predict.pixel_source import HeldPixels
from foldpack.settings.run import AugmentConfig, ConfigError, RunConfig
from foldpack.settings.training.augment import TransformConfig
from foldpack.train.augment.image import Augmentation, crop_step, require_augmentation
from foldpack.train.augment.menu import PRESETS, transforms
from foldpack.train.augment.mixing import BatchMixer, PatchMixer
from foldpack.train.checks import check_names
from foldpack.train.dataset import EpochOrder, TrainingSet, training_batches
from foldpack.train.fit import fit_fold
from foldpack.train.loop.training import FoldTraining

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
CPU = torch.device("cpu")


def tiny(augment: dict, **changes: object) -> RunConfig:
    net = {"arch": "test_resnet", "size": 32, **changes.pop("net", {})}  # type: ignore[dict-item]
    return tiny_config("tiny", augment={"hflip": 0.0, **augment}, net=net, **changes)


def toy_set(side: int | tuple[int, int], count: int = 24) -> TrainingSet:
    """Noise in two folds."""
    kind = CanvasKind(side)
    pixels = np.random.default_rng(0).integers(0, 256, (count, *kind.sides, 3), dtype=np.uint8)
    return TrainingSet([str(row) for row in range(count)], HeldPixels(kind, pixels), np.arange(count) % 2,
                       np.arange(count) // 2 % 2, ["a", "b"], "multiclass")


# ---- transforms by name


@pytest.mark.parametrize("name", [*PRESETS, "GaussNoise", "Rotate", "RGBShift", "RandomRotate90", "GridDropout"])
def test_a_transform_changes_pixels_and_follows_from_its_key(name: str) -> None:
    config = AugmentConfig(hflip=0.0, transforms=[TransformConfig(name=name, p=1.0)])
    augment = Augmentation(config)
    first = [augment(IMAGE, (0, 0, row)) for row in range(6)]
    assert any(each.tobytes() != IMAGE.tobytes() for each in first)
    assert len({each.tobytes() for each in first}) > 1
    again = Augmentation(config)
    assert all(np.array_equal(again(IMAGE, (0, 0, row)), first[row]) for row in (5, 0, 3))


def test_the_probability_and_the_parameters_of_a_transform_matter() -> None:
    def share(p: float) -> float:
        augment = Augmentation(AugmentConfig(hflip=0.0, transforms=[TransformConfig(name="InvertImg", p=p)]))
        return float(np.mean([(augment(IMAGE, (row,)) == 255 - IMAGE).all() for row in range(300)]))

    assert share(1.0) == 1 and share(0.3) == pytest.approx(0.3, abs=0.08)
    noise = [Augmentation(AugmentConfig(hflip=0.0, transforms=[
        TransformConfig(name="GaussNoise", p=1.0, params={"std_range": [std, std]})]))(IMAGE // 2 + 64, (1,))
        for std in (0.01, 0.1)]
    off = [float(np.abs(each.astype(float) - (IMAGE // 2 + 64)).std()) for each in noise]
    assert off[1] > 4 * off[0] > 0


def test_transforms_come_in_their_order_after_the_others() -> None:
    names = ["InvertImg", "Posterize"]
    made = []
    for order in (names, names[::-1]):
        steps = [TransformConfig(name=name, p=1.0, params={"num_bits": 2} if name == "Posterize" else {})
                 for name in order]
        made.append(Augmentation(AugmentConfig(hflip=0.0, transforms=steps))(IMAGE, (0,)))
    assert (made[0] == ((255 - IMAGE) & 0xC0)).all() and (made[1] == 255 - (IMAGE & 0xC0)).all()


def test_every_transform_that_needs_no_more_than_an_image_follows_from_its_key() -> None:
    tried = 0
    for name, kind in transforms().items():
        needed = [each for each in inspect.signature(kind.__init__).parameters.values()
                  if each.default is inspect.Parameter.empty and each.name != "self"]
        config = AugmentConfig(hflip=0.0, transforms=[TransformConfig(name=name, p=1.0)])
        try:
            require_augmentation(tiny({"transforms": [{"name": name, "p": 1.0}]}, net={"canvas": 40}))
        except ConfigError as failure:
            assert str(failure).startswith("run 'tiny': augment.transforms.0") and "\n" not in str(failure)
            continue
        made = [Augmentation(config)(IMAGE, (7,)) for _ in range(2)]
        tried += 1
        assert np.array_equal(*made) and not needed, name
    assert tried > 70


@pytest.mark.parametrize(("transform", "message"), [
    ({"name": "GausNoise"}, "run 'tiny': augment.transforms.1.name: 'GausNoise' is no transform; did you mean "
     "'GaussNoise'?; allowed: soft, medium, hard, noise, blur, distortion, colour, jpeg, cutout, or any transform of"),
    ({"name": "Compose"}, "run 'tiny': augment.transforms.1.name: 'Compose' is no transform"),
    ({"name": "GaussNoise", "params": {"var_limit": [1, 2]}},
     "run 'tiny': augment.transforms.1.params: GaussNoise has no 'var_limit': Allowed: std_range, mean_range"),
    ({"name": "GaussNoise", "params": {"std_rnge": [0, 1]}}, "has no 'std_rnge': did you mean 'std_range'? Allowed"),
    ({"name": "GaussNoise", "params": {"std_range": [0, 7]}},
     "run 'tiny': augment.transforms.1.params: GaussNoise does not take them: std_range: "),
    ({"name": "Resize"}, "augment.transforms.1.params: Resize does not take them: height: Field required; known: "),
    ({"name": "soft", "params": {"rotate": 3}}, "augment.transforms.1.params: preset 'soft' takes none; leave them"),
    ({"name": "ToFloat"}, "run 'tiny': augment.transforms.1: ToFloat gives float32 numbers of shape [32, 32, 3]; what"),
    ({"name": "RandomCrop", "params": {"height": 99, "width": 9}},
     "run 'tiny': augment.transforms.1: RandomCrop fails on an image of 32 px: "),
    ({"name": "MaskDropout"}, "run 'tiny': augment.transforms.1: MaskDropout fails on an image of 32 px: "),
])
def test_a_transform_that_cannot_be_is_one_line_before_anything_is_decoded(transform: dict, message: str) -> None:
    config = tiny({"transforms": [{"name": "soft"}, transform]})
    with pytest.raises(ConfigError) as caught:
        check_names(config, get_competition("digits"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_presets_take_images_of_any_channels_but_say_which_cannot() -> None:
    for channels in (1, 3, 4):
        net = {"channels": channels, "mean": [0.5] * channels, "std": [0.5] * channels}
        for name in PRESETS:
            config = tiny({"transforms": [{"name": name}]}, net=net)
            if channels == 4 and name in ("colour", "jpeg"):
                continue  # contrast by brightness and JPEG know grey and colours
            require_augmentation(config)


# ---- crops and sides


def test_a_random_crop_is_a_window_of_the_canvas_anywhere_in_it() -> None:
    config = tiny({"crop": "random"}, net={"size": [20, 24], "canvas": [40, 48]})
    augment = Augmentation(config.augment, crop_step(config))
    windows = np.lib.stride_tricks.sliding_window_view(IMAGE, (20, 24, 3))[:, :, 0]
    places = []
    for row in range(60):
        made = augment(IMAGE, (row,))
        assert made.shape == (20, 24, 3)
        [place] = np.argwhere((windows == made).all(axis=(2, 3, 4)))
        places.append(tuple(place))
    down, across = zip(*places, strict=True)
    assert min(down) <= 2 and max(down) >= 18 and min(across) <= 2 and max(across) >= 22 and len(set(places)) > 40


def test_a_resized_crop_keeps_the_aspect_and_the_shares_that_it_is_told() -> None:
    """Measured on a picture whose pixels say where they are."""
    high, wide = 200, 240
    where = np.zeros((high, wide, 3), dtype=np.uint8)
    where[..., 0], where[..., 1] = np.arange(high)[:, None], np.arange(wide)
    for area, aspect in (([0.3, 0.4], [1.0, 1.0]), ([0.5, 0.5], [0.5, 2.0])):
        config = tiny({"crop": "resized", "crop_area": area, "crop_aspect": aspect},
                      net={"size": [100, 120], "canvas": [high, wide]})
        augment = Augmentation(config.augment, crop_step(config))
        shares, stretches = [], []
        for row in range(80):
            made = augment(where, (row,)).astype(float)
            assert made.shape == (100, 120, 3)
            tall, broad = (made[-1, 0, 0] - made[0, 0, 0]) / 0.99, (made[0, -1, 1] - made[0, 0, 1]) * 120 / 119
            shares.append(tall * broad / (high * wide))
            stretches.append(broad / tall * high / wide)
        assert min(shares) > area[0] - 0.03 and max(shares) < area[1] + 0.03
        assert min(stretches) > aspect[0] * 0.93 and max(stretches) < aspect[1] * 1.07
        assert aspect[0] == 1 or (min(stretches) < 0.7 and max(stretches) > 1.4)


def test_of_images_that_keep_their_proportions_a_crop_does_too() -> None:
    net = {"size": 32, "canvas": 64, "geometry": {"kind": "short", "most": 128}}
    for crop in ("random", "resized"):
        config = tiny({"crop": crop, "crop_area": [0.2, 0.3]} if crop == "resized" else {"crop": crop}, net=net)
        step = Augmentation(config.augment, crop_step(config))
        assert step(np.zeros((64, 120, 3), np.uint8), (0,)).shape == (32, 32, 3)
        long = step(np.full((20, 128, 3), 9, np.uint8), (0,))  # `most` has made its short side smaller than the input
        assert long.shape == (32, 32, 3) and (long == 9).all()
    checks = np.kron(np.indices((16, 30)).sum(axis=0) % 2 * 255, np.ones((4, 4)))[..., None].repeat(3, axis=2)
    made = Augmentation(config.augment, crop_step(config))(checks.astype(np.uint8), (1,))[..., 0] > 127
    runs = [np.diff(np.flatnonzero(np.diff(line.astype(int)))) for line in (made[16], made[:, 16])]
    assert runs[0].mean() == pytest.approx(runs[1].mean(), rel=0.2)  # squares stay squares


@pytest.mark.parametrize(("augment", "net", "shapes"), [
    ({}, {"canvas": 48}, {(32, 32)}),
    ({"crop": "random"}, {"canvas": 48}, {(32, 32)}),
    ({"crop": "random"}, {"size": [16, 32], "canvas": [32, 64]}, {(16, 32)}),
    ({"sides": [24, 40, 64]}, {"canvas": 48}, {(24, 24), (40, 40), (64, 64)}),
    ({"sides": [32, 64]}, {"size": [16, 32], "canvas": [32, 64]}, {(16, 32), (32, 64)}),
    ({"crop": "resized", "sides": [24, 40]}, {"canvas": 48}, {(24, 24), (40, 40)}),
])
def test_the_network_is_shown_what_was_asked_for(augment: dict, net: dict, shapes: set) -> None:
    config = tiny(augment, net=net, batch_size=2)
    data = toy_set(canvas_kind(config.net).size)
    training = FoldTraining(config, data, 0)
    seen: list[tuple[int, ...]] = []
    training.net.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[-2:])))
    for epoch in range(3):
        training.epoch(epoch)
    assert set(seen) == shapes and len(seen) == 18
    drawn = [training.side(epoch, batch) for epoch in range(3) for batch in range(6)]
    assert [training.side(epoch, batch) for epoch in range(3) for batch in range(6)] == drawn
    assert training.evaluate(0).score >= 0 and seen[-1] == tuple(np.broadcast_to(config.net.size, 2))  # the whole image


def test_sides_that_a_network_cannot_see_are_refused_before_anything_is_decoded() -> None:
    config = tiny({"sides": [16, 24]}, net={"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}})
    with pytest.raises(Exception, match="test_vit") as caught:
        check_names(config, get_competition("digits"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("augment", "net", "message"), [
    ({"crop": "random"}, {}, "augment.crop 'random' cuts a window of net.size, 32 px, from a larger canvas, and "
     "net.canvas is None; set it to more than net.size"),
    ({"crop": "random"}, {"canvas": 24}, "a canvas of 24 px is smaller than the network's input of 32 px"),
    ({"crop": "random"}, {"canvas": 64, "geometry": {"kind": "long"}}, "with geometry 'long' choose 'resized', or"),
    ({"crop": "middle"}, {}, "augment.crop: input should be 'none', 'random' or 'resized', got 'middle'"),
    ({"crop_area": [0.1, 0.2]}, {}, "crop 'none' does not read crop_area; it is read by resized"),
    ({"crop": "resized", "crop_area": [0.5, 1.5]}, {}, "crop_area is [0.5, 1.5]; write the smaller number first, and"),
    ({"crop": "resized", "crop_aspect": [2, 1]}, {}, "crop_aspect is [2, 1]; write the smaller number first"),
    ({"sides": [32, 32]}, {}, "sides [32, 32]: a side stands there twice"),
    ({"erase_count": 2}, {}, "erase_count is read where erase is above 0"),
    ({"erase": 0.5, "erase_area": [0.2, 0.1]}, {}, "erase_area is [0.2, 0.1]; write the smaller number first"),
    ({"erase": 0.5, "erase_aspect": [3, 2]}, {}, "erase_aspect is [3, 2]; write the smaller number first"),
    ({"erase": 0.5, "erase_fill": "black"}, {}, "augment.erase_fill: input should be 'noise', 'colour' or 'mean', got"),
    ({"mix": 0.5}, {}, "mix is read where mixup, cutmix, ricap or icap is above 0, and none is"),
    ({"transforms": [{"name": "soft", "p": 0}]}, {}, "augment.transforms.0.p: input should be greater than 0, got 0"),
    ({"transforms": [{"nme": "soft"}]}, {}, "unknown key 'augment.transforms.0.nme': did you mean 'name'?"),
])
def test_settings_that_do_not_fit_are_one_clear_line(augment: dict, net: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny(augment, net=net)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("augment", [
    {"crop": "resized", "crop_area": [0.3, 0.9]}, {"crop": "random"}, {"sides": [24, 40]}, {"ricap": 0.3},
    {"transforms": [{"name": "hard", "p": 1.0}]}, {"icap": 1.0}, {"icap": 1.0, "mix": 0.5},
])
def test_an_option_changes_the_weights_and_the_same_seed_gives_the_same(augment: dict) -> None:
    data = toy_set(48)
    made = [fit_fold(tiny(each, net={"canvas": 48}, epochs=1), data, 0, lambda entry: None).weights
            for each in (augment, augment, {})]
    name = next(name for name, tensor in made[0].items() if tensor.ndim == 4)
    assert torch.equal(made[0][name], made[1][name]) and not torch.equal(made[0][name], made[2][name])


def test_batches_are_the_same_for_any_number_of_workers() -> None:
    augment = {"crop": "resized", "vflip": 0.5, "transforms": [{"name": name} for name in PRESETS]}
    found = []
    for workers in (0, 2):
        config = tiny(augment, net={"canvas": 48}, workers=workers, batch_size=4)
        batches = training_batches(toy_set(48, 12), np.arange(12), config, 3, EpochOrder(lambda _: np.arange(12)))
        found.append([(images.numpy(), targets.numpy()) for groups in batches for images, targets in groups])
    assert len(found[0]) == 3
    assert all(np.array_equal(one, two) for pair in zip(*found, strict=True) for one, two in zip(*pair, strict=True))


# ---- mixing


def places(count: int, height: int = 10, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose channels say: which, row, column; and one-hot targets."""
    images = torch.zeros(count, 3, height, width)
    images[:, 0] = torch.arange(count)[:, None, None]
    images[:, 1] = torch.arange(height)[:, None]
    images[:, 2] = torch.arange(width)
    return images, torch.eye(count)


@pytest.mark.parametrize("keep_place", [True, False])
def test_patches_of_four_images_and_targets_by_their_areas(keep_place: bool) -> None:
    torch.manual_seed(1)
    images, targets = places(6)
    mixer, points, moved = PatchMixer(1.0, keep_place), set(), False
    for _ in range(30):
        mixed, soft = mixer(images, targets)
        for which, target in zip(mixed[:, 0].round().long(), soft, strict=True):
            counted = torch.bincount(which.flatten(), minlength=6) / which.numel()
            assert torch.allclose(target, counted, atol=1e-6)  # computed from the pixels alone
        down, across = mixed[0, 1], mixed[0, 2]
        moved |= not (torch.equal(down, images[0, 1]) and torch.equal(across, images[0, 2]))
        steps = (down[1:] - down[:-1] == 1).all(dim=1), (across[:, 1:] - across[:, :-1] == 1).all(dim=0)
        assert sum(int((~step).sum()) for step in steps) <= 2  # whole patches, whose rows and columns follow each other
        borders = [int(each[0]) if len(each := torch.nonzero(mixed[:, 0].diff(dim=axis).flatten(0, axis - 1)
                       .abs().sum(dim=0) if axis == 2 else mixed[:, 0].diff(dim=axis).abs().sum(dim=(0, 2)))) else -1
                   for axis in (1, 2)]
        points.add(tuple(borders))
    assert moved is not keep_place and len(points) > 10  # drawn anew for every batch


def test_the_shares_of_patches_follow_the_beta_distribution() -> None:
    torch.manual_seed(0)
    images, targets = places(2, 100, 100)
    for alpha in (0.3, 5.0):
        mixer = PatchMixer(alpha, keep_place=True)
        largest = [float(mixer(images, torch.eye(2))[1].max()) for _ in range(200)]
        drawn = torch.distributions.Beta(alpha, alpha).sample((4000, 2))
        sizes = torch.stack([drawn[:, 0] * drawn[:, 1], drawn[:, 0] * (1 - drawn[:, 1]),
                             (1 - drawn[:, 0]) * drawn[:, 1], (1 - drawn[:, 0]) * (1 - drawn[:, 1])])
        of_two = torch.randint(2, (4000, 4)).T.float()  # of two images each patch is one of them
        expected = torch.maximum((sizes * of_two).sum(0), (sizes * (1 - of_two)).sum(0)).mean()
        assert np.mean(largest) == pytest.approx(float(expected), abs=0.06)


def test_whether_a_batch_is_mixed_is_drawn_for_every_batch() -> None:
    torch.manual_seed(0)
    images, targets = places(8)
    for share in (0.25, 1.0):
        mixer = BatchMixer(AugmentConfig(icap=1.0, mix=share), CPU)
        mixed = [not torch.equal(mixer(images, targets)[1], targets) for _ in range(200)]
        assert np.mean(mixed) == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "ricap", "icap"])
def test_erasing_comes_after_mixing_and_all_that_a_target_holds_is_mixed_alike(name: str) -> None:
    torch.manual_seed(0)
    images = torch.zeros(8, 3, 32, 32)
    targets = torch.cat([torch.eye(8), torch.arange(8.0)[:, None]], dim=1)  # a weight behind the labels
    mixed, soft = BatchMixer(AugmentConfig(**{"hflip": 0.0, name: 1.0, "erase": 1.0}), CPU)(images, targets)
    assert torch.allclose(soft[:, 8], soft[:, :8] @ torch.arange(8.0), atol=1e-5)
    assert ((mixed != 0).any(dim=1).float().mean(dim=(1, 2)) > 0).all()  # noise lies on every image


def erased(count: int = 200, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 60 x 80 whose pixels are all 5, after erasing; and which pixels were erased."""
    torch.manual_seed(0)
    random.seed(0)
    images, _ = BatchMixer(AugmentConfig(**{"erase": 1.0, **changes}), CPU)(torch.full((count, 3, 60, 80), 5.0),
                                                                           torch.eye(count))
    return images, (images != 5).any(dim=1)


@pytest.mark.parametrize("area", [[0.02, 1 / 3], [0.05, 0.1], [0.3, 0.3]])
def test_what_is_erased_has_the_area_that_was_asked_for(area: list[float]) -> None:
    for count in (1, 3):
        shares = erased(erase_area=area, erase_count=count)[1].float().mean(dim=(1, 2))
        assert shares.max() < area[1] * 1.15 + 0.005  # rectangles are of whole pixels
        assert count > 1 or shares.min() > area[0] * 0.85 - 0.005  # several may overlap
        assert count > 1 or float(shares.mean()) == pytest.approx(sum(area) / 2, rel=0.12)


def test_what_is_erased_has_the_proportions_the_number_and_the_fill_that_were_asked_for() -> None:
    for low, high in ((0.3, 1 / 0.3), (0.5, 0.6), (2.0, 2.5)):
        mask = erased(erase_aspect=[low, high], erase_area=[0.1, 0.2])[1]
        tall, wide = mask.any(dim=2).sum(dim=1), mask.any(dim=1).sum(dim=1)
        aspect = tall / wide
        assert torch.equal(tall * wide, mask.sum(dim=(1, 2)))  # one rectangle
        assert low * 0.9 < aspect.min() and aspect.max() < high * 1.1
        assert float(aspect.log().mean()) == pytest.approx(np.log(low * high) / 2, abs=0.15)
    counts = {ndimage.label(mask.numpy())[1] for mask in erased(erase_count=3, erase_area=[0.02, 0.06])[1]}
    assert counts == {1, 2, 3}
    colours = {fill: [image[:, mask].T.unique(dim=0) for image, mask in zip(*erased(20, erase_fill=fill), strict=True)]
               for fill in ("noise", "colour", "mean")}
    assert all(len(each) > 50 for each in colours["noise"])
    assert all(len(each) == 1 for each in colours["colour"]) and len(torch.cat(colours["colour"]).unique(dim=0)) == 20
    assert all(torch.equal(each, torch.zeros(1, 3)) for each in colours["mean"])
    assert float(erased(400, erase=0.3)[1].any(dim=2).any(dim=1).float().mean()) == pytest.approx(0.3, abs=0.07)


def test_embeddings_are_not_mixed() -> None:
    for name in ("mixup", "cutmix", "ricap", "icap"):
        with pytest.raises(ConfigError, match=f"task 'embed' learns one identity an image; leave out augment.{name}"):
            tiny({name: 1.0}, task="embed", loss={"name": "arcface"})
