"""Settings files are strict: every fault is one line that names the file, the key and what is allowed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.settings.network import StartFrom
from foldpack.settings.run import (
    NOT_HASHED,
    ConfigError,
    RunConfig,
    config_hash,
    config_text,
    parse_config,
    read_config,
)
from foldpack.settings.strict_model import FAULT_WORDS, StrictModel, parse_strict
from foldpack.settings.strict_yaml import YamlError, load_strict
from foldpack.settings.training.extra_labels import EXTRA_BLOCKS

GOOD: dict = {"run": "one", "competition": "digits", "net": {"arch": "resnet18", "size": 32},
              "loss": {"name": "cross_entropy"}, "metric": "accuracy"}


def faults(**changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({**GOOD, **changes}, "x.yml")
    return str(caught.value)


def test_every_value_is_spelled_out_and_reads_back(tmp_path: Path) -> None:
    config = parse_config({**GOOD, "optim": {"lr": 3.0e-3}, "folds": [1]}, "x.yml")
    (tmp_path / "x.yml").write_text(config_text(config))
    assert read_config(tmp_path / "x.yml") == config
    assert "warmup_epochs: 1" in config_text(config) and "mixup: 0.0" in config_text(config)


def test_every_configuration_of_the_project_reads() -> None:
    files = sorted((Path(__file__).parents[2] / "configs").glob("*/*.yml"))
    runs = [path for path in files if path.name not in ("recipe.yml", "competition.yml")]
    assert runs and all(read_config(path).run == path.stem for path in runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "x.yml: unknown key 'epoch': did you mean 'epochs'? Allowed: accumulate, "),
        ({"net": {"arch": "a", "siz": 32}}, "unknown key 'net.siz': did you mean 'size'? Allowed: arch, bins, canv"),
        ({"net": {"arch": "a", "siz": 32}}, "key 'net.size' is missing"),
        ({"optim": {"wdecay": 1.0}}, "unknown key 'optim.wdecay': did you mean 'weight_decay'? Allowed: clip_norm, "),
        ({"zzz": 1}, "unknown key 'zzz': Allowed: accumulate"),
        ({"epochs": "3"}, "epochs: input should be a valid integer, got '3'"),
        ({"epochs": 3.0}, "epochs: input should be a valid integer, got 3.0"),
        ({"epochs": True}, "epochs: input should be a valid integer, got True"),
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, got 0"),
        ({"optim": {"lr": float("nan")}}, "optim.lr: input should be a finite number, got nan"),
        ({"optim": {"lr": float("inf")}}, "optim.lr: input should be a finite number, got inf"),
        ({"optim": {"lr": 0.0}}, "optim.lr: input should be greater than 0, got 0.0"),
        ({"optim": None}, "optim: input should be a valid dictionary or instance of OptimConfig, got None"),
        ({"loss": {"name": "zzz"}}, "loss: unknown loss 'zzz': Allowed: cross_entropy, focal, bce, asymmetric, soft"),
        ({"loss": {"name": "asymmetric", "smoothing": 0.1}},
         "loss: loss 'asymmetric' does not read smoothing; it is read by cross_entropy, bce, got {"),
        ({"loss": {"name": "cross_entropy", "pos_weight": 2.0}}, "does not read pos_weight; it is read by bce"),
        ({"loss": {"name": "bce", "gamma_neg": 2.0}}, "loss 'bce' does not read gamma_neg; it is read by asymmetric"),
        ({"precision": False}, "precision: input should be 'no', 'fp16' or 'bf16', got False"),
        ({"views": []}, "views: list should have at least 1 item"),
        ({"views": "identity"}, "views: input should be a valid list, got 'identity'"),
        ({"folds": [0, "1"]}, "folds.1: input should be a valid integer, got '1'"),
        ({"run": "a b"}, "is no name; allowed: letters"),
        ({"run": "../x"}, "is no name; allowed: letters"),
        ({"run": ""}, "is no name; allowed: letters"),
        ({"net": {"arch": "a", "size": 32, "std": [1.0, 1.0]}},
         "net: mean and std need a number for each channel, 3, and std above 0"),
        ({"net": {"arch": "a", "size": 32, "std": [1.0, 0.0, 1.0]}}, "net: mean and std need a number for each"),
        ({"net": {"arch": "a", "size": 32, "kwargs": {"num_classes": 3}}}, "num_classes follows from the labels"),
        ({"net": {"arch": "a", "size": 32, "kwargs": {"in_chans": 1}}},
         "net: kwargs.in_chans is 1, but images have 3 channels; leave in_chans out, it follows from channels"),
        ({"net": {"arch": "a", "size": 32, "channels": 1}}, "net: mean and std need a number for each channel, 1"),
        ({"net": {"arch": "a", "size": "32"}},
         "net.size: write a side in pixels, 8 to 8192, or [height, width], got '32'"),
        ({"net": {"arch": "a", "size": [32, 48, 3]}}, "net.size: write a side in pixels, 8 to 8192, or"),
        ({"net": {"arch": "a", "size": [32, 4]}}, "net.size: write a side in pixels, 8 to 8192, or"),
        ({"net": {"arch": "a", "size": 32, "canvas": True}}, "net.canvas: write a side in pixels, 8 to 8192, or"),
        ({"net": {"arch": "a", "size": [32, 48], "canvas": 40}},
         "net: a canvas of 40 px is smaller than the network's input of [32, 48] px"),
        ({"net": {"arch": "a", "size": 32, "geometry": {"kind": "long", "pad": 3}}},
         "net.geometry: geometry 'long' does not read pad; it is read by letterbox"),
        ({"net": {"arch": "a", "size": 32, "geometry": {"kind": "short"}}},
         "net.geometry: geometry 'short' needs most, the longest side in pixels that the other side may have"),
        ({"net": {"arch": "a", "size": [32, 48], "geometry": {"kind": "long"}}},
         "net: geometry 'long' needs one side as size and canvas, not [height, width]"),
        ({"net": {"arch": "a", "size": 40, "geometry": {"kind": "long", "multiple": 16}}},
         "net: size is 40 px, no multiple of geometry.multiple, which is 16"),
        ({"net": {"arch": "a", "size": 32, "geometry": {"kind": "short", "most": 16}}},
         "net: geometry.most is 16 px, less than the short side of 32 px"),
        ({"net": {"arch": "a", "size": [32, 48], "canvas": [64, 64], "geometry": {"kind": "letterbox"}}},
         "net: a canvas of [64, 64] px has other proportions than the network's input of [32, 48] px, so 'letterbox'"),
        ({"net": {"arch": "a", "size": 32, "channels": 1, "mean": [0.5], "std": [0.2]}, "augment": {"colour": 0.5}},
         "augment.colour needs images of 3 channels, and net.channels is 1; set it to 0"),
        ({"trackers": ["tensorbord"]}, "trackers.0: input should be 'tensorboard', 'wandb' or 'mlflow', got "
         "'tensorbord': did you mean 'tensorboard'?"),
        ({"sampler": {"kind": "balance"}}, "got 'balance': did you mean 'balanced'?"),
        ({"device": "GPU"}, "device: input should be 'auto', 'cpu' or 'gpu', got 'GPU': did you mean 'gpu'?"),
        ({"augment": {"hflip": 1.5}}, "augment.hflip: input should be less than or equal to 1, got 1.5"),
    ],
)
def test_each_fault_is_named(changes: dict, message: str) -> None:
    text = faults(**changes)
    assert message in text and text.startswith("x.yml: ") and "\n" not in text


def test_all_faults_are_told_at_once_and_long_values_are_cut() -> None:
    text = faults(epochs="x" * 500, seeed=1)
    assert "epochs: " in text and "unknown key 'seeed': did you mean 'seed'?" in text
    assert "..." in text and "x" * 100 not in text


class Inner(StrictModel):
    """A part."""

    size: int


class Outer(StrictModel):
    """A whole of parts."""

    parts: list[Inner] = []
    named: dict[str, Inner] = {}
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"parts": [{"size": 1}, {"sise": 1, "size": 1}]}, "unknown key 'parts.1.sise': did you mean 'size'? Allowed:"),
        ({"named": {"a": {"siz": 1, "size": 1}}}, "unknown key 'named.a.siz': did you mean 'size'? Allowed: size"),
        ({"maybe": {"siz": 1, "size": 1}}, "unknown key 'maybe.siz': did you mean 'size'? Allowed: size"),
        ({"part": []}, "unknown key 'part': did you mean 'parts'? Allowed: maybe, named, parts"),
        ({"parts": [{"size": 1}, {}]}, "key 'parts.1.size' is missing"),
    ],
)
def test_keys_inside_lists_mappings_and_options(data: dict, message: str) -> None:
    with pytest.raises(FoldpackError) as caught:
        parse_strict(Outer, data, "y", FoldpackError)
    assert message in str(caught.value)


@pytest.mark.parametrize(("data", "kind"), [([], "list"), (None, "NoneType"), ("a", "str"), (3, "int")])
def test_anything_but_a_mapping_is_refused(data: object, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"x.yml: expected a mapping of keys to values, got {kind}"):
        parse_config(data, "x.yml")


def test_settings_are_frozen() -> None:
    config = parse_config(GOOD, "x.yml")
    with pytest.raises(ValidationError):
        config.epochs = 3


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing.yml: cannot read it .*No such file"):
        read_config(tmp_path / "nothing.yml")
    with pytest.raises(ConfigError, match="cannot read it .*Is a directory"):
        read_config(tmp_path)
    (tmp_path / "x.yml").write_bytes(b"run: \xff\n")
    with pytest.raises(ConfigError, match="x.yml: cannot read it"):
        read_config(tmp_path / "x.yml")
    (tmp_path / "x.yml").write_text("run: [\n")
    with pytest.raises(YamlError, match="x.yml:"):
        read_config(tmp_path / "x.yml")


def test_the_hash_follows_what_decides_the_weights() -> None:
    def of(**changes: object) -> str:
        return config_hash(parse_config({**GOOD, **changes}, "x"))

    assert of() == of(epochs=20) == of(folds=[0]) == of(workers=4) == of(images="stream") == of(broken="error")
    assert of() == of(device="cpu") == of(compile=True) == of(grad_checkpointing=True)
    different = [of(), of(epochs=21), of(seed=1), of(net={"arch": "resnet18", "size": 64}), of(optim={"lr": 0.1}),
                 of(run="two"), of(views=["hflip"]), of(broken="skip")]
    assert len(set(different)) == len(different) and all(len(one) == 64 for one in different)


def test_did_you_mean() -> None:
    assert did_you_mean("rms", ["mae", "rmse"]) == "did you mean 'rmse'? Allowed: mae, rmse"
    assert did_you_mean("qqq", ["accuracy", "auc"]) == "Allowed: accuracy, auc"


def test_a_config_that_names_its_yaml_line(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match="x.yml:2: key 'run' is already set in line 1"):
        load_strict("run: a\nrun: b\n", "x.yml")
    assert isinstance(parse_config(GOOD, tmp_path), RunConfig)


# What the version gave that was the last to name each later setting in its hash.
HASHES_OF_OLDER_RUNS: list[tuple[dict, str]] = [
    ({},
     "b3e664f35f9e7370cd0f37695c06e868107220528cf3ec3d365a34b2e0112cbd"),
    ({"net": {"arch": "r", "size": 32, "geometry": {"kind": "squash"}}},
     "5ca89b893b4e1662b8fa183f7628ed2e88a5f98fdf8f70061a996dba4f18d180"),
    ({"net": {"arch": "r", "size": 32, "geometry": {"kind": "letterbox", "pad": 3}, "canvas": 64}},
     "d65909d719fdc156fb5bbb3354410447456108cd1d63c9af4de69f31d6be0876"),
    ({"task": "embed", "loss": {"name": "arcface", "scale": 3.0}, "embed": {"dim": 8}},
     "80f893b59e16d90625d3d4a4eb5a46d0543939a3b115525cbc7fab0169a38f43"),
    ({"task": "embed", "loss": {"name": "arcface", "lr": 0.1}},
     "60cda84de4e7a49479331979de1e97f324b96031889b70f8fafbba02272a7ed4"),
    ({"task": "regress", "loss": {"name": "huber", "delta": 2.0}, "range": [0, 1]},
     "ba50a2da12414adda4fe7e17a4624293e910f2ea60e31a14d5dbae787a364fc9"),
    ({"task": "regress", "net": {"arch": "r", "size": 32, "bins": 5}, "loss": {"name": "cross_entropy"}},
     "7fcd8e77c35749c63449a77ae6cc83d799eaeacf4763d10f2fdd64949e4d17d0"),
    ({"optim": {"schedule": "step", "decay_epochs": 3}},
     "640b73ac41009af04f3533e63d0f824ea0127510871a81f1913d936befa13137"),
    ({"optim": {"schedule": "multistep", "decay_milestones": [3], "kwargs": {"fused": True}}},
     "d3580eae49b01a735782eff3595545f19522bb28fb7aee0227e509a815314d3c"),
    ({"merge": "gmean"},
     "fe6f7131efda8b23fdb191a143be4541bbee8cd6df16673a2abbf5e32f5f2003"),
    ({"augment": {"mixup": 0.3}},
     "e56013dbcc43d6357b70ee64818fd493baaf70b9e7f22cd2726d4c1c4695d02f"),
    ({"loss": {"name": "l.py:x", "kwargs": {"a": 1}}},
     "c18736795f42c14025f2eaca3015c704fe64e246b40b7a703052c20c67475775"),
    ({"folds": [1], "workers": 3, "patience": 2, "ema": 0.9},
     "6b738c8f9dbf92f3d8ec5ca3845f3604d77562938fa24202208a908cdb604846"),
    ({"net": {"arch": "r", "size": 32, "channels": 1, "mean": [0.5], "std": [0.5],
              "decoder": "pillow-draft", "pretrained": True}},
     "7c98f422a6c606592d7dbccc0fbaa129f016e1be7c69a8c78ce5af335c6b6668"),
]


@pytest.mark.parametrize(("changes", "expected"), HASHES_OF_OLDER_RUNS)
def test_settings_that_came_later_leave_the_hash_of_older_runs(changes: dict, expected: str) -> None:
    plain = {"run": "a", "competition": "digits", "net": {"arch": "r", "size": 32}, "loss": {"name": "cross_entropy"},
             "metric": "accuracy"}
    assert config_hash(parse_config({**plain, **changes}, "x")) == expected


def test_the_very_first_version_gave_this_hash() -> None:
    assert config_hash(parse_config(GOOD, "x")) == "5067e8cdc4b89facc3574c666c4469344be105056e98969f8924a03565727c22"


@pytest.mark.parametrize("block", ["net", "loss", "optim", "augment", "embed", ""])
def test_every_setting_that_decides_the_weights_changes_the_hash(block: str) -> None:
    config = parse_config(GOOD, "x")
    fields = type(getattr(config, block) if block else config).model_fields
    before = config_hash(config)
    for name in set(fields) - {*NOT_HASHED, *EXTRA_BLOCKS, "net", "loss", "optim", "augment", "embed"}:
        other = StartFrom(hub=True) if name == "pretrained" else "something else"
        inner = (getattr(config, block) if block else config).model_copy(update={name: other})
        changed = config.model_copy(update={block: inner}) if block else inner
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydantic wonders at the value
            assert config_hash(changed) != before, name


@pytest.mark.parametrize(("block", "key"), [("pseudo", "file"), ("complete", "file"), ("distill", "file"),
                                            ("begin", "folder")])
def test_what_a_run_learns_from_others_decides_by_its_bytes(block: str, key: str) -> None:
    def hashed(**inside: object) -> str:
        return config_hash(parse_config({**GOOD, block: inside}, "x"))

    settled = hashed(**{key: "here", "sha256": "0" * 64})
    assert settled == hashed(**{key: "there", "sha256": "0" * 64}) != hashed(**{key: "here", "sha256": "1" * 64})
    assert settled != config_hash(parse_config(GOOD, "x")) != hashed(**{key: "here"})
    if block in ("pseudo", "distill"):
        assert settled != hashed(**{key: "here", "sha256": "0" * 64, "weight": 0.25})



class Numbers(StrictModel):
    """One field of each kind that settings have."""

    few: list[int] = Field(default=[], max_length=1)
    some: list[int] = Field(default=[0, 0], min_length=2)
    word: str = Field(default="abc", min_length=2, max_length=3)
    flag: bool = False
    part: float = Field(default=0.5, gt=0, lt=1)
    whole: int = Field(default=5, ge=1, le=9)
    table: dict[str, int] = {}


@pytest.mark.parametrize(("data", "message"), [
    ({"few": [1, 2]}, "few: list should have at most 1 item, not 2, got [1, 2]"),
    ({"some": [1]}, "some: list should have at least 2 items, not 1, got [1]"),
    ({"word": "a"}, "word: string should have at least 2 characters, got 'a'"),
    ({"word": "abcd"}, "word: string should have at most 3 characters, got 'abcd'"),
    ({"word": 1}, "word: input should be a valid string, got 1"),
    ({"flag": 1}, "flag: input should be a valid boolean, got 1"),
    ({"part": "1"}, "part: input should be a valid number, got '1'"),
    ({"part": 1.0}, "part: input should be less than 1, got 1.0"),
    ({"whole": 10}, "whole: input should be less than or equal to 9, got 10"),
    ({"table": []}, "table: input should be a valid dictionary, got []"),
])
def test_faults_have_our_words(data: dict, message: str) -> None:
    """Whatever words pydantic has for them: the table has all the faults that our settings can have."""
    with pytest.raises(FoldpackError) as caught:
        parse_strict(Numbers, data, "y", FoldpackError)
    assert str(caught.value) == f"y: {message}"
    with pytest.raises(ValidationError) as told:
        Numbers.model_validate(data)
    assert {fault["type"] for fault in told.value.errors()} <= set(FAULT_WORDS)
