"""Begin a network with other weights, and settle before training which these are. Never used in a kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import timm
import torch
from torch import nn

from foldpack.files import sha256_file
from foldpack.models.classifier import build_classifier
from foldpack.models.own_network import own_network
from foldpack.models.start_files import KEY, NoWeightsError, StartError, StartFile, find_start, start_tensors
from foldpack.models.weight_match import Match, Tensors, match_weights
from foldpack.settings.network import NetConfig, StartFrom, WeightsOrigin

LEAST = 0.5  # share of a network's tensors that must fit: less is another architecture
SHOWN = 3  # names in a message
FEW = 2  # outputs of a network that is only built to be looked at

Say = Callable[[str], None]


def settle_start(net: NetConfig, say: Say) -> NetConfig:
    """The network's settings with all that its weights decide: their hash, their licence, the pixels that they want.

    Where optional weights are not there, those of a start from scratch. What was decided is said in a line. A mean or
    std that is written in the settings stays. Raises StartError, ModelError, WeightFileError.
    """
    start = net.pretrained
    if not start:
        return net
    try:
        return settle_hub(net, say) if start.hub else settle_file(net, find_start(start), say)
    except NoWeightsError as failure:
        if not start.optional or start.sha256 is not None:
            raise
        say(f"{str(failure).partition('; ')[0]}; it is optional, so training starts from scratch")
        return net.model_copy(update={"pretrained": StartFrom()})


def settle_file(net: NetConfig, found: StartFile, say: Say) -> NetConfig:
    """The same of a file."""
    start, digest = net.pretrained, sha256_file(found.path)
    if start.sha256 not in (None, digest):
        raise StartError(f"{KEY}: {found.path} has SHA-256 {digest[:12]}..., and {KEY}.sha256 wants {start.sha256[:12]}"
                         "...; bring back those weights, or take the line out to start from these")
    make = own_network(net)
    match = start_match(build_classifier(net, FEW, make=make), net, found)
    mean_std = found.pixels or timm_pixels(net.arch if make is None else "")
    settled = start.model_copy(update={"sha256": digest, "optional": False, "origin": start.origin or found.origin,
                                       "licence": start.licence or found.licence})
    net = net.model_copy(update={"pretrained": settled, **wanted_pixels(net, mean_std)})
    say(start_line(net, found, match))
    return net


def settle_hub(net: NetConfig, say: Say) -> NetConfig:
    """The same of timm's hub, or of what a project's own network does when it is made with `pretrained=True`."""
    start, make = net.pretrained, own_network(net)
    try:
        build_classifier(net, FEW, True, make)  # downloads
    except Exception as failure:  # of many libraries, where there is no network
        raise NoWeightsError(f"{KEY}: the weights of network '{net.arch}' cannot be loaded: {type(failure).__name__}: "
                             f"{short(failure)}; name a file or a package, or add `optional: true`") from None
    told = timm.get_pretrained_cfg(net.arch) if make is None else None
    settled = start.model_copy(update={"optional": False})
    if told is not None:
        place = told.hf_hub_id and f"https://huggingface.co/{told.hf_hub_id}"
        settled = settled.model_copy(update={"origin": start.origin or place or told.url,
                                             "licence": start.licence or told.license})
    net = net.model_copy(update={"pretrained": settled,
                                 **wanted_pixels(net, timm_pixels(net.arch if make is None else ""))})
    say(f"{KEY}: timm's weights of '{net.arch}', licence {settled.licence or 'not told'}; {pixels_text(net)}")
    return net


def timm_pixels(arch: str) -> tuple[list[float], list[float]] | None:
    """Mean and std that timm's weights of a network want; None for a network that timm does not know."""
    told = timm.get_pretrained_cfg(arch) if arch else None
    return None if told is None else (list(told.mean), list(told.std))


def wanted_pixels(net: NetConfig, mean_std: tuple[list[float], list[float]] | None) -> dict[str, list[float]]:
    """`mean` and `std` as the weights want them, where the settings leave them out and the channels are the same."""
    if mean_std is None:
        return {}
    return {name: value for name, value in zip(("mean", "std"), mean_std, strict=True)
            if name not in net.model_fields_set and len(value) == net.channels}


def fill_net(net: nn.Module, config: NetConfig) -> None:
    """Give a network that was just made the weights of `config.pretrained`, as `settle_start` has settled it; nothing
    happens to one that starts from scratch or was made with timm's. net: without what a task puts behind it."""
    if config.pretrained and not config.pretrained.hub:
        match = start_match(net, config, find_start(config.pretrained), config.pretrained.head == "keep")
        net.load_state_dict(match.tensors, strict=False)


def start_match(net: nn.Module, config: NetConfig, found: StartFile, keep: bool = False) -> Match:
    """What fits a network of a file. keep: the head must, too. Raises StartError where it is too little,
    WeightFileError, ModelError."""
    start = config.pretrained
    given, wanted = start_tensors(found.path, start.key), net.state_dict()
    last = head_names(config, wanted)
    forms = known_forms(given, net)
    match = best_match(wanted, forms, last, config)
    needed = len(wanted) - len(last)
    if match.worth() < LEAST * needed:
        hint = f"they are of '{found.arch}'" if found.arch else "name the network that they are of as net.arch"
        raise StartError(
            f"{KEY}: {found.path.name} does not fit network '{config.arch}': {match.worth()} of its {needed} tensors "
            f"before the head fit by name, and not all in order; it lacks {listed(match.missing, wanted)}, and has "
            f"{listed(match.unused, given)}; {hint}")
    if not keep:
        return match
    match = best_match(wanted, forms, frozenset(), config)
    if lacking := [name for name in wanted if name in last and name not in match.tensors]:
        raise StartError(f"{KEY}.head: keep: {found.path.name} does not fit the head of network '{config.arch}': "
                         f"{listed(lacking, wanted)}; leave head out to start with a new one")
    return match


def best_match(wanted: Tensors, forms: list[dict[str, torch.Tensor]], head: frozenset[str], config: NetConfig) -> Match:
    """Of the form that fits most."""
    return max((match_weights(wanted, each, head, config.channels) for each in forms), key=Match.worth)


def known_forms(given: dict[str, torch.Tensor], net: nn.Module) -> list[dict[str, torch.Tensor]]:
    """The weights as they are, and as timm makes them fit a network of its own: names of first publications, position
    embeddings of other sizes."""
    forms = [given]
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is not None and type(net).__module__.startswith("timm."):
        with suppress(Exception):  # it expects weights of this kind of network only
            forms.append(convert(dict(given), net))
    return forms


def head_names(config: NetConfig, wanted: dict[str, torch.Tensor]) -> frozenset[str]:
    """The tensors of a network whose shape follows from the number of its outputs: those that differ in another."""
    make = own_network(config)
    for outputs in (FEW, FEW + 1):
        with torch.random.fork_rng(devices=[]):  # the numbers that the new head is drawn from stay the same
            other = build_classifier(config, outputs, make=make).state_dict()
        differing = {name for name in wanted.keys() & other.keys() if wanted[name].shape != other[name].shape}
        if differing:
            return frozenset(differing)
    return frozenset()


def start_line(net: NetConfig, found: StartFile, match: Match) -> str:
    """What is taken and what is not, in one line."""
    parts = [f"{len(match.tensors)} tensors {match.how}"]
    if match.adapted:
        parts.append(f"of these {some(match.adapted)} adapted to {net.channels} channel{'s' * (net.channels != 1)}")
    for names, what in ((match.missing, "start anew beside the head"), (match.unused, "of the file are left over")):
        if names:
            parts.append(f"{len(names)} {what} ({some(names)})")
    return (f"{KEY}: {found.name}, licence {net.pretrained.licence or 'not told'}: {', '.join(parts)}; "
            f"{pixels_text(net)}")


def pixels_text(net: NetConfig) -> str:
    """What pixels are normalised with."""
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (net.mean, net.std))
    return f"pixels with mean {mean} and std {std}"


def weights_origin(net: NetConfig) -> WeightsOrigin | None:
    """Whose weights a run started from, of settings that `settle_start` has settled; None: from scratch."""
    start = net.pretrained
    if not start:
        return None
    name = start.package or Path(start.file or net.arch).name
    return WeightsOrigin(name=name, origin=start.origin, licence=start.licence, sha256=start.sha256)


def listed(names: list[str], tensors: dict[str, torch.Tensor]) -> str:
    """The first of some tensors with their shapes, and how many more there are."""
    return some([f"{name} {tuple(tensors[name].shape)}" if name in tensors else name for name in names])


def some(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing else"


def short(failure: Exception) -> str:
    """The first sentence of an error's text."""
    return " ".join(str(failure).split()).partition(". ")[0]
