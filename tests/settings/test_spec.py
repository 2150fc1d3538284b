"""The ensemble YAML: it reads back as it was written, and parts that do not fit each other are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldpack.settings.ensemble import EnsembleSpec, fold_role, parse_spec, read_spec, spec_to_dict, write_spec
from foldpack.settings.stages import SpecError
from foldpack.settings.strict_yaml import YamlError


def member(run: str = "one", **changes: object) -> dict:
    return {"run": run, "weight": 0.1 + 0.2, "views": ["identity"], "size": 32, "seconds_per_image": 1e-05,
            "folds": [{"fold": 0, "sha256": "a" * 64}, {"fold": 1, "sha256": "b" * 64}], **changes}


OUTPUTS = {"kind": "classes", "link": "softmax", "names": ["0", "no"], "prior": [0.25, 0.75]}
SIGMOID = {**OUTPUTS, "link": "sigmoid"}
VECTORS = {"kind": "vectors", "names": OUTPUTS["names"], "prior": OUTPUTS["prior"], "dim": 8}


def stage(**changes: object) -> dict:
    return {"name": "read", "task": "classify", "outputs": OUTPUTS, "members": [member()],
            "fuse": {"kind": "scores"}, "decision": {"kind": "class"}, **changes}


def good(*stages: dict, **changes: object) -> dict:
    return {"name": "best", "competition": "digits", "slug": "digit-recognizer",
            "metric": {"name": "accuracy", "oof": 0.9}, "stages": list(stages) or [stage()], **changes}


def old(**changes: object) -> dict:
    """An ensemble of version 1."""
    return {"version": 1, "name": "best", "competition": "digits", "slug": "digit-recognizer", "task": "multiclass",
            "metric": {"name": "accuracy", "oof": 0.9}, "classes": ["0", "no"], "prior": [0.25, 0.75],
            "members": [member()], **changes}


def labels(threshold: object = 0.1, **changes: object) -> dict:
    return {"kind": "labels", "threshold": threshold, **changes}


def test_the_example_is_an_ensemble_as_the_search_writes_it(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "ensembles" / "example-digits.yml"
    spec = read_spec(example)
    assert [(member.run, len(member.folds)) for member in spec.members] == [("digits_resnet", 3), ("digits_darknet", 3)]
    write_spec(tmp_path / "again.yml", spec)
    assert (tmp_path / "again.yml").read_bytes() == example.read_bytes()


def test_a_spec_reads_back_as_it_was_written(tmp_path: Path) -> None:
    spec = parse_spec(good(stage(outputs=SIGMOID, decision=labels(max_labels=3),
                                 fuse={"kind": "scores", "space": "logit", "scale": 1.25, "bias": -0.5})))
    write_spec(tmp_path / "ensembles" / "best.yml", spec)
    assert read_spec(tmp_path / "ensembles" / "best.yml") == spec
    assert spec.members[0].weight == 0.1 + 0.2  # to the last bit
    assert parse_spec(spec_to_dict(spec)) == spec


def test_what_is_not_known_is_left_out() -> None:
    data = spec_to_dict(parse_spec(good()))
    assert "wheels" not in data and "nested" not in data["metric"]
    assert "file" not in data["stages"][0]["members"][0]["folds"][0]


def test_version_1_is_lifted_into_one_stage(tmp_path: Path) -> None:
    level2 = {"top": 2, "members": ["one"], "threshold": 0.3, "oof": 0.9, "nested": 0.9, "nested_se": 0.0, "gain": 0.1,
              "gain_se": 0.0, "boosters": [{"kind": "xgboost", "fold": 0, "file": "a.json", "sha256": "a" * 64}]}
    prefix = {"members": [{"run": "one", "weight": 1.0}], "oof": 0.8, "threshold": [0.2, 0.4], "scale": 2.0}
    plan = {"units": [{"run": "one", "fold": 1}], "prefixes": [prefix]}
    data = old(task="multilabel", threshold=0.1, min_labels=0, max_labels=3, blend={"space": "logit"}, plan=plan,
               level2=level2, keys="dataset")
    write_spec(tmp_path / "new.yml", parse_spec(data))
    limits = {"min_labels": 0, "max_labels": 3}
    expected = good(stage(
        name="classify", outputs=SIGMOID, decision=labels(**limits), fuse={"kind": "scores", "space": "logit"},
        plan={**plan, "prefixes": [{**{key: value for key, value in prefix.items() if key != "threshold"},
                                    "decision": labels([0.2, 0.4], **limits)}]},
        level2=[{**{key: value for key, value in level2.items() if key != "threshold"},
                 "decision": labels(0.3, **limits)}]), keys="dataset")
    assert read_spec(tmp_path / "new.yml") == parse_spec(expected)
    assert (tmp_path / "new.yml").read_text().startswith("version: 2\n")
    one = parse_spec({key: value for key, value in old(threshold=None).items() if key != "version"})  # the default
    assert one == parse_spec(good(stage(name="classify")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": {**OUTPUTS, "prior": [1.0]}}, "stages.0.outputs: prior has 1 numbers for 2 names"),
        ({"outputs": SIGMOID, "decision": {"kind": "labels"}}, "key 'stages.0.decision.threshold' is missing"),
        ({"outputs": SIGMOID, "decision": labels([0.1])}, "stages.0: 1 thresholds for 2 classes: stage"),
        ({"outputs": SIGMOID}, "stages.0: decision 'class' does not fit link 'sigmoid'; allowed: labels, p"),
        ({"decision": labels()}, "stages.0: decision 'labels' does not fit link 'softmax'"),
        ({"decision": {"kind": "clas"}}, "stages.0.decision.kind: 'clas' is unknown: did you mean 'class'?"),
        ({"decision": {"threshold": 1}}, "key 'stages.0.decision.kind' is missing"),
        ({"decision": {**labels(), "treshold": 1}}, "unknown key 'stages.0.decision.treshold': did you mean 'thresh"),
        ({"members": [member(), member("two"), member()]}, "a run is named twice: one, two, one"),
        ({"members": [member(folds=[{"fold": 1, "sha256": "a" * 64}] * 2)]}, "run 'one' names a fold twice: [1, 1]"),
        ({"members": [member(weight=0.0)]}, "the weights of the members sum to 0"),
        ({"members": []}, "stages.0: members: a stage needs members that are runs, or files in place"),
        ({"members": [member(weight=-0.1)]}, "members.0.weight: input should be greater than or equal to 0"),
        ({"members": [member(), member("two", wieght=1)]}, "unknown key 'stages.0.members.1.wieght': did you mean 'w"),
        ({"members": [member(folds=[{"fold": 0, "sha256": "A" * 64}])]}, "members.0.folds.0.sha256: string should mat"),
        ({"members": [member(views=[])]}, "members.0.views: list should have at least 1 item"),
        ({"members": [member("a/b")]}, "members.0.is no name; allowed: letters"),
        ({"outputs": {**OUTPUTS, "names": ["a", "a"]}}, "a name stands there twice"),
        ({"outputs": {**OUTPUTS, "names": ["a"], "prior": [1.0]}}, "outputs: networks need 2 names or more, a"),
        ({"decision": labels(max_labels=1, min_labels=2)}, "at least 2 and at most 1 labels an item do not fit"),
        ({"outputs": {**OUTPUTS, "prior": []}}, "outputs: networks need 2 names or more, and a prior"),
        ({"outputs": VECTORS}, "stages.0: fuse 'scores' does not fit outputs 'vectors': neighbours goes with vectors"),
        ({"fuse": {"kind": "neighbours"}}, "stages.0: fuse 'neighbours' does not fit outputs 'classes'"),
        ({"outputs": VECTORS, "fuse": {"kind": "neighbours"}}, "run 'one': each fold of vectors needs its gallery"),
        ({"members": [member(folds=[{"fold": 1, "sha256": "a" * 64, "gallery": {"sha256": "b" * 64}}])]},
         "run 'one': each fold of vectors needs its gallery, and no other has one; search again"),
        ({"memebers": []}, "unknown key 'stages.0.memebers': did you mean 'members'?"),
    ],
)
def test_each_fault_of_a_stage_is_named(changes: dict, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(good(stage(**changes)), "best.yml")
    assert message in str(caught.value) and str(caught.value).startswith("best.yml: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (good(budget={"hours": 0}), "budget.hours: input should be greater than 0"),
        (good(budget={"hours": 25}), "budget.hours: input should be less than or equal to 24"),
        (good(budget={"margin": 1.0}), "budget.margin: input should be less than 1"),
        (good(version=3), "version: input should be 2, got 3"),
        (good(metric={"name": "f2", "oof": float("nan")}), "metric.oof: input should be a finite number"),
        (good(competition=""), "an ensemble of runs needs competition and slug, got '' and 'digit-recognizer'"),
        (good(slug="a b"), "an ensemble of runs needs competition and slug, got 'digits' and 'a b'"),
        (good(name="x" * 81), "is no name; allowed: letters"),
        (good(stage(), stage()), "a stage is named twice: read, read"),
        (good(stage(), stage(name="again")), "a run is named twice: one, one"),
        (old(task="boxes"), "stages.0.outputs.link: input should be 'softmax' or 'sigmoid', got 'boxes'"),
        (old(task="multilabel"), "key 'stages.0.decision.threshold' is missing"),
        (old(memebers=[]), "unknown key 'memebers'"),
        (old(plan={"prefixes": 1, "units": 2}), "stages.0.plan.prefixes: input should be a valid list"),
    ],
)
def test_each_fault_is_named(data: dict, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(data, "best.yml")
    assert message in str(caught.value) and str(caught.value).startswith("best.yml: ")


def test_unreadable_files_say_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="best.yml: cannot read the ensemble .*; make it with `foldpack search`, or"):
        read_spec(tmp_path / "best.yml")
    (tmp_path / "best.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot read the ensemble"):
        read_spec(tmp_path / "best.yml")
    (tmp_path / "best.yml").write_text("name: a\nname: b\n")
    with pytest.raises(YamlError, match="best.yml:2"):
        read_spec(tmp_path / "best.yml")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "best.yml"
    write_spec(path, parse_spec(good()))
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_spec(path, parse_spec(good(name="other")))
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["best.yml"]


def test_the_role_names_run_and_fold() -> None:
    assert fold_role("one", 3) == "one/fold3"
    assert isinstance(parse_spec(good()), EnsembleSpec)


def test_a_blend_of_files_is_told_from_an_ensemble_of_runs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("version: 1\nname: mine\nkind: exclusive\nmetric:\n  name: auc\n  oof: 0.9\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(caught.value) == (f"{path}: a blend of files, which has no runs; a deploy needs an ensemble of runs, "
                                 "and `foldpack blend` applies this one")
