"""Other weights find their place in a network: by name, behind prefixes, in order; and what fits nowhere is named."""

from __future__ import annotations

import pytest
import timm
import torch

from foldpack.models.weight_match import Match, match_weights

ARCH = "test_efficientnet"
HEAD = {"classifier.weight", "classifier.bias"}
Tensors = dict[str, torch.Tensor]


def made(outputs: int, channels: int = 3, arch: str = ARCH) -> Tensors:
    """A network's tensors, other numbers each time."""
    return timm.create_model(arch, num_classes=outputs, in_chans=channels).state_dict()


def body(tensors: Tensors) -> Tensors:
    """All but the head."""
    return {name: tensor for name, tensor in tensors.items() if name not in HEAD}


def same(match: Match, wanted: Tensors) -> bool:
    """Whether just these were found."""
    return match.tensors.keys() == wanted.keys() and all(match.tensors[name].equal(wanted[name]) for name in wanted)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "encoder.", "module.model.", "0."])
def test_names_are_found_behind_any_prefix(prefix: str) -> None:
    given = made(1000)
    match = match_weights(made(10), {prefix + name: tensor for name, tensor in given.items()}, HEAD)
    assert same(match, body(given)) and not match.missing
    assert match.how == (f"by name without '{prefix}'" if prefix else "by name")
    assert match.unused == ([prefix + name for name in given if name in HEAD] if prefix else [])


def test_a_network_that_holds_it_as_a_part_is_filled_by_name() -> None:
    given = body(made(1000))
    wanted = {f"backbone.{name}": tensor for name, tensor in body(made(10)).items()}
    wanted["last.weight"] = torch.zeros(5, 8)
    match = match_weights(wanted, given, set())
    assert same(match, {f"backbone.{name}": tensor for name, tensor in given.items()})
    assert (match.how, match.missing) == ("by name below 'backbone.'", ["last.weight"])
    other = match_weights(wanted, {f"encoder.{name}": tensor for name, tensor in given.items()}, set())
    assert other.how == "by name without 'encoder.' below 'backbone.'" and same(other, match.tensors)


def renamed(tensors: Tensors) -> Tensors:
    """Names that tell nothing but what each tensor is, in the same order."""
    return {f"_{k}.{name.rpartition('.')[2]}": tensor for k, (name, tensor) in enumerate(tensors.items())}


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_weights_of_other_names_are_taken_in_order(prefix: str) -> None:
    given = made(1000)
    wanted = {prefix + name: tensor for name, tensor in body(made(10)).items()} | {"last.weight": torch.zeros(5, 8)}
    match = match_weights(wanted, renamed(given), set() if prefix else {"last.weight"})
    assert same(match, {prefix + name: tensor for name, tensor in body(given).items()})
    assert match.how == ("in order below 'backbone.'" if prefix else "in order")
    assert match.unused == list(renamed(given))[-2:] and match.missing == (["last.weight"] if prefix else [])


def test_old_weights_without_counts_of_batches_are_taken_in_order() -> None:
    given = {name: tensor for name, tensor in made(1000).items() if not name.endswith("num_batches_tracked")}
    assert same(match_weights(made(10), renamed(given), HEAD), body(given))


def swap(tensors: Tensors) -> Tensors:
    """Weight and bias of the first norm, which have one shape, in the other order."""
    names = list(tensors)
    at = names.index("bn1.weight")
    names[at], names[at + 1] = names[at + 1], names[at]
    return renamed({name: tensors[name] for name in names})


@pytest.mark.parametrize(("case", "given"), [
    ("weight and bias change places", lambda: swap(made(1000))),
    ("another network", lambda: renamed(made(1000, arch="test_resnet"))),
    ("one is missing", lambda: renamed(dict(list(made(1000).items())[1:]))),
    ("more than a head is left", lambda: renamed(made(1000) | {f"more{k}.weight": torch.zeros(3) for k in range(3)})),
])
def test_order_is_followed_only_where_every_tensor_agrees(case: str, given) -> None:
    match = match_weights(made(10), given(), HEAD)
    assert not match.tensors, case
    assert match.missing == list(body(made(10)))


def test_what_fits_nowhere_is_named() -> None:
    given = made(1000)
    given["conv_head.weight"] = torch.zeros(3, 3)
    given["strange.weight"] = given.pop("bn1.weight")
    match = match_weights(made(10), given, HEAD)
    assert match.missing == ["bn1.weight", "conv_head.weight"]
    assert sorted(match.unused) == ["conv_head.weight", "strange.weight"]


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("arch", [ARCH, "test_vit"])
def test_a_first_convolution_is_adapted_as_timm_does(arch: str, channels: int) -> None:
    given = made(1000, arch=arch)
    names = {"classifier.weight", "classifier.bias", "head.weight", "head.bias"}
    theirs = timm.create_model(arch, pretrained=True, num_classes=10, in_chans=channels, pretrained_cfg_overlay={
        "state_dict": {name: tensor.clone() for name, tensor in given.items()}, "num_classes": 1000})
    match = match_weights(made(10, channels, arch), given, names, channels)
    wanted = {name: tensor for name, tensor in theirs.state_dict().items() if name not in names}
    assert same(match, wanted) and len(match.adapted) == 1


def test_weights_over_rgb_are_not_adapted_to_rgb() -> None:
    given = made(1000, 4)
    match = match_weights(made(10), given, HEAD)
    assert match.missing == match.unused == ["conv_stem.weight"] and not match.adapted
