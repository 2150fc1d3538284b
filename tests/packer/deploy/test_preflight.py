"""The preflight: every finding at once, each with its mend, and nothing is asked of the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_competition import competition_of
from small_house import House

from foldpack.keyring.keyring import Keyring
from foldpack.settings.competition import competition_text
from foldpack.settings.ensemble import BudgetSpec, EnsembleSpec, MetricSpec
from foldpack.settings.stages import ClassDecision, LabelsDecision, ProbsDecision
from packer.build.kernel_folder import Build
from packer.build.stage import SealedStore
from packer.deploy.hours import predict_hours
from packer.deploy.journey import require_near_runs
from packer.deploy.preflight import (
    Finding,
    Wanted,
    after_build,
    before_build,
    check_accelerator,
    check_answer,
    check_credentials,
    check_hours,
    check_images,
    check_names,
    check_size,
    check_sources,
    check_words,
    stop_on_errors,
)
from packer.image.image import Image, kaggle_image
from packer.kaggle.credentials import Credentials, find_credentials
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.push import build_request

ROOT = Path(__file__).resolve().parents[3]
MINE = Credentials("kaggle.json", None, "someone")
WANTED = Wanted("someone", "NvidiaTeslaT4", 1000, 1.0, True)


def found(house: House, runs: Path, folder: Path, wanted: Wanted = WANTED,
          credentials: Credentials | None = MINE) -> list[Finding]:
    with Keyring.editing(folder / "keyring") as ring:
        return before_build(house.spec, runs, folder, SealedStore(folder / "sealed", ring), wanted, credentials)


def errors(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.level == "error"]


def copied(house: House, folder: Path) -> Build:
    """The build in another folder, to be damaged."""
    shutil.copytree(house.build.folder, folder)
    staged = [SimpleNamespace(folder=folder / "weights")]
    return Build(folder, folder / "small.py", folder / "small.keyless.py", folder / "weights", house.build.datasets,
                 house.build.pack_id, house.build.spec, [], staged, house.build.packages)  # type: ignore[arg-type]


def test_a_good_ensemble_has_only_its_hours_and_its_room_to_tell(house: House, tmp_path: Path) -> None:
    hours, room = found(house, house.runs, tmp_path)
    assert hours.level == "note" and "for 1,000 images on 2 GPUs, each 1 times as slow as the device" in hours.what
    assert (room.level, room.text) == ("note", "decoded images take 0.0 GB: 32 px: 0.0 GB in /tmp")
    assert after_build(house.build, build_request(house.build.folder), kaggle_image()) == []


def test_everything_at_once(house: House, tmp_path: Path) -> None:
    runs = house.copy_runs(tmp_path)
    shutil.rmtree(runs / "tiny_resnet")
    (runs / "tiny_efficientnet" / "fold1.safetensors").write_bytes(b"other")
    wanted = Wanted("me", "NvidiaTeslaP100", None, 1.0, True)
    findings = found(house, runs, tmp_path, wanted)
    said = errors(findings)
    assert len(said) == 4
    for part in ("credentials are those of someone", "retired the P100", "there is no such run", "weights changed"):
        assert any(part in line for line in said), part
    with pytest.raises(DeployError, match="4 things stand in the way; nothing was sent") as failure:
        stop_on_errors(findings)
    assert failure.value.exit_code == Exit.SEVERAL
    with pytest.raises(DeployError) as failure:
        stop_on_errors([each for each in findings if each.code == Exit.RUNS])
    assert failure.value.exit_code == Exit.RUNS


@pytest.mark.parametrize(("other", "alike"), [("SMALL", True), ("small.", True), ("small_2", False), ("small", False)])
def test_two_names_that_kaggle_takes_for_one(house: House, tmp_path: Path, other: str, alike: bool) -> None:
    (tmp_path / other).mkdir()
    (tmp_path / other / "kernel-metadata.json").write_text("{}")
    said, place = errors(found(house, house.runs, tmp_path)), tmp_path / other
    assert said == ([f"ensemble 'small' would have the kernel and the datasets of '{other}', built in {place}: Kaggle "
                     f"makes 'small' of both names; rename one, or remove {place} if '{other}' was never deployed"]
                    if alike else [])


def test_the_runs_of_a_quick_recipe_are_found_beside_its_ensemble(house: House, tmp_path: Path) -> None:
    near = tmp_path / "quick/runs"
    (near / house.spec.members[0].run).mkdir(parents=True)
    with pytest.raises(DeployError) as caught:
        require_near_runs(house.spec, Path("nowhere"), near)
    assert caught.value.exit_code == Exit.RUNS and str(caught.value) == (
        f"nowhere: run '{house.spec.members[0].run}' is not there, but in {near}; give --runs {near}")
    require_near_runs(house.spec, house.runs, near)


def test_one_error_is_one_line() -> None:
    with pytest.raises(DeployError, match="^it is wrong; mend it$") as failure:
        stop_on_errors([Finding("error", "it is wrong", "mend it", Exit.NO_SPACE), Finding("warning", "so so", "")])
    assert failure.value.exit_code == Exit.NO_SPACE
    stop_on_errors([Finding("warning", "so so", ""), Finding("note", "well", "")])


DECISIONS = {"class": ClassDecision(), "labels": LabelsDecision(threshold=0.5)}


@pytest.mark.parametrize(("metric", "kind", "said"), [
    ({"name": "auc"}, "class", "metric 'auc' scores probabilities, but a kernel hands in one class an item"
     "; allowed: accuracy, error, macro_f1, map1, micro_f1, recall1; search again and name one of them with --metric"),
    ({"name": "auc", "answer": "class"}, "class", "metric 'auc' scores probabilities"),
    ({"name": "map5"}, "class", "metric 'map5' scores a ranked list of classes an item"),
    ({"name": "log_loss"}, "labels", "but a kernel hands in a set of labels an item; allowed: f1,"),
    ({"name": "mine"}, "class", "metric 'mine' of the ensemble is not built in, and nothing says what it scores; "
     "search again with --metric FILE.py, or write `answer: class`"),
    ({"name": "mine", "answer": "probs"}, "class", "metric 'mine' scores probabilities"),
    ({"name": "mine", "answer": "class"}, "class", None),
    ({"name": "macro_f1"}, "class", None),
    ({"name": "f2"}, "labels", None),
])
def test_a_promised_score_is_that_of_what_is_handed_in(house: House, metric: dict, kind: str, said: str | None) -> None:
    spec = house.spec.model_copy(update={"metric": MetricSpec(oof=0.97, **metric)}).with_last(decision=DECISIONS[kind])
    lines = [each.text for each in check_answer(spec)]
    assert (lines == []) if said is None else (len(lines) == 1 and said in lines[0])


def test_what_is_decided_is_what_the_competition_asks_for(house: House, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = {"kind": "probability", "id": "id", "column": "label", "of": "1"}
    (tmp_path / "competition.yml").write_text(competition_text(competition_of(answer=answer).config))
    spec = house.spec.model_copy(update={"competition": "competition.yml"})
    assert [each.text for each in check_words(spec)] == [
        "stage 'classify' decides 'class', but competition 'competition.yml' asks for an answer of kind 'probability'; "
        "allowed decisions: probs; search again"]
    assert list(check_words(spec.with_last(decision=ProbsDecision(classes=["1"])))) == []
    answer["of"] = "11"
    (tmp_path / "competition.yml").write_text(competition_text(competition_of(answer=answer).config))
    [finding] = check_words(spec.with_last(decision=ProbsDecision(classes=["1"])))
    assert finding.text.startswith("answer.of is '11', which is none of the classes: did you mean '1'? Allowed: 0, 1, ")


def test_a_deploy_of_an_ensemble_for_auc_is_refused_and_nothing_is_built(house: House, tmp_path: Path) -> None:
    yaml = tmp_path / "small.yml"
    yaml.write_text(house.ensemble.read_text().replace("name: accuracy", "name: auc"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy_kernel.py"), str(yaml), "--dry-run", "--runs", str(house.runs), "--build",
         str(tmp_path / "build"), "--keyring", str(tmp_path / "keyring")], capture_output=True, text=True)
    assert done.returncode == 2 and "metric 'auc' scores probabilities, but a kernel hands in one class" in done.stderr
    assert not (tmp_path / "build" / "small").exists()


def test_no_space(house: House, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    [error] = errors(found(house, house.runs, tmp_path))
    assert "0.0 GB are free, 0.2 GB are needed; make room" in error


@pytest.mark.parametrize(
    ("credentials", "sending", "level", "code"),
    [(None, True, "error", Exit.CREDENTIALS), (None, False, "note", Exit.CREDENTIALS),
     (Credentials("kaggle.json", None, "other"), True, "error", Exit.OWNER),
     (Credentials("kaggle.json", None, "SomeOne"), True, None, None),
     (Credentials("access token", None, None), True, None, None)],
)
def test_credentials(credentials: Any, sending: bool, level: Any, code: Any) -> None:
    wanted = Wanted("someone", "NvidiaTeslaT4", None, 1.0, sending)
    assert [(each.level, each.code) for each in check_credentials(credentials, wanted)] == (
        [(level, code)] if level else [])


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)])
def test_credentials_of_mode_0600(tmp_path: Path, mode: int, count: int) -> None:
    path = tmp_path / "kaggle.json"
    path.write_text("{}")
    path.chmod(mode)
    findings = list(check_credentials(Credentials("kaggle.json", path, "someone"), WANTED))
    assert len(findings) == count and all(f"chmod 600 {path}" in each.mend for each in findings)


def test_credentials_are_found_in_the_order_of_the_client(tmp_path: Path, monkeypatch) -> None:
    for name in [each for each in os.environ if each.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert find_credentials() is None
    (tmp_path / "xdg" / "kaggle").mkdir(parents=True)
    (tmp_path / "xdg" / "kaggle" / "kaggle.json").write_text('{"username": "xdg", "key": "k"}')
    assert find_credentials() == Credentials("kaggle.json", tmp_path / "xdg/kaggle/kaggle.json", "xdg")
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "credentials.json").write_text("{}")
    assert find_credentials() == Credentials("OAuth credentials", tmp_path / ".kaggle/credentials.json", None)
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"username": "me", "key": "k"}')
    assert find_credentials() == Credentials("kaggle.json", tmp_path / ".kaggle/kaggle.json", "me")
    monkeypatch.setenv("KAGGLE_USERNAME", "you")
    monkeypatch.setenv("KAGGLE_KEY", "k")
    assert find_credentials() == Credentials("KAGGLE_KEY", None, "you")
    (tmp_path / ".kaggle" / "access_token").write_text("secret")
    assert find_credentials() == Credentials("access token", tmp_path / ".kaggle/access_token", None)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    assert find_credentials() == Credentials("KAGGLE_API_TOKEN", None, None)


@pytest.mark.parametrize(("name", "levels"), [("NvidiaTeslaT4", []), ("NvidiaTeslaP100", ["error"]),
                                              ("Quantum", ["warning"])])
def test_accelerators(name: str, levels: list[str]) -> None:
    assert [finding.level for finding in check_accelerator(name)] == levels


def sized(spec: EnsembleSpec, *sizes: int) -> EnsembleSpec:
    """The ensemble with its first member at each of these sides."""
    member = spec.members[0]
    members = [member.model_copy(update={"run": f"run{size}", "size": size}) for size in sizes]
    return spec.with_last(members=members, plan=None)


@pytest.mark.parametrize(
    ("sizes", "images", "accelerator", "level", "parts"),
    [((288, 320, 352), 38_801, "NvidiaTeslaT4", "note",
      ["take 36.0 GB: 288 px: 9.7 GB in /tmp; 320 px: 11.9 GB in /tmp; 352 px: 14.4 GB in /kaggle/working"]),
     ((288, 320, 352), 38_801, "NvidiaL4X1", "note", ["288 px: 9.7 GB in memory; 320 px: 11.9 GB in /tmp"]),
     ((512, 640), 38_801, "NvidiaTeslaT4", "warning",
      ["take 78.2 GB: 512 px: 30.5 GB in /tmp; 640 px: 19.7 GB in /kaggle/working, 22,750 of 38,801 images are decoded "
       "again for each unit", "That is 45,500 decodes more, about 0.1 h if an image", "one side with `net.canvas`"]),
     ((1024,), 38_801, "Quantum", "warning", ["1024 px: 32.0 GB in /tmp, 28,629 of 38,801 images are decoded again"])],
)
def test_where_decoded_images_go(house: House, sizes: tuple[int, ...], images: int, accelerator: str, level: str,
                                 parts: list[str]) -> None:
    [finding] = check_images(sized(house.spec, *sizes), Wanted(None, accelerator, images, 1.0, True))
    assert finding.level == level and all(part in finding.text for part in parts), finding.text
    assert not list(check_images(house.spec, Wanted(None, accelerator, None, 1.0, True)))


def test_hours_are_those_of_the_formula(house: House) -> None:
    work = sum(one.seconds_per_image * len(one.folds) * len(one.views) * 10_000 * 3.0 + 15.0 * len(one.folds)
               for one in house.spec.members)
    assert predict_hours(house.spec, 10_000, "NvidiaTeslaT4", 3.0) == pytest.approx((work / 2 + 120) / 3600)
    assert predict_hours(house.spec, 10_000, "NvidiaTeslaA100", 3.0) == pytest.approx((work + 120) / 3600)


def test_too_many_hours(house: House) -> None:
    long = house.spec.model_copy(update={"budget": BudgetSpec(hours=13)})
    said = [str(each) for each in check_hours(long, Wanted(None, "NvidiaTeslaT4", 10**9, 1.0, True))]
    assert "warning: budget.hours is 13, but Kaggle ends a session after 12 h" in said[0]
    assert "the kernel will leave units out" in said[1]
    assert "is not known" in list(check_hours(house.spec, Wanted(None, "NvidiaTeslaT4", None, 1.0, True)))[0].what


@pytest.mark.parametrize(
    ("change", "message"),
    [({"title": "other title"}, "leads to the slug 'other-title'"), ({"id": "me/abc", "title": "abc"}, "3 characters"),
     ({"title": "small " + "x" * 60, "id": "me/small-" + "x" * 60}, "66 characters; allowed: 5 to 50"),
     ({"is_private": False}, "is_private: False"), ({"enable_internet": True}, "enable_internet: True"),
     ({"enable_internet": None}, "enable_internet: None")],
)
def test_names_and_flags(house: House, change: dict[str, Any], message: str) -> None:
    metadata = json.loads((house.build.folder / "kernel-metadata.json").read_text())
    assert list(check_names(metadata)) == []
    assert any(message in finding.text for finding in check_names({**metadata, **change}))


@pytest.mark.parametrize(("source", "ok"), [("me/weights", True), ("me/weights/3", True), ("weights", False),
                                            ("me/Weights", False), ("me/abc", False), ("me/a b c d e", False),
                                            ("me/" + "x" * 51, False)])
def test_dataset_sources(source: str, ok: bool) -> None:
    findings = list(check_sources({"dataset_sources": [source], "competition_sources": ["imet-2020-fgvc7"]}))
    assert (findings == []) is ok


def test_competition_sources() -> None:
    [finding] = check_sources({"dataset_sources": [], "competition_sources": ["My_Competition"]})
    assert "'My_Competition' is not a name as in kaggle.com/competitions/NAME" in finding.what


def test_size_is_that_of_the_bytes() -> None:
    assert list(check_size({"text": "x" * 999_999})) == []
    [finding] = check_size({"text": "é" * 500_000})
    assert "1,000,000 bytes; Kaggle takes fewer than 1,000,000" in finding.what


def test_sealed_files_and_keys_of_the_build(house: House, tmp_path: Path) -> None:
    build = copied(house, tmp_path / "small")
    request, image = build_request(build.folder), kaggle_image()
    assert after_build(build, request, image) == []
    one, other = sorted((build.folder / "weights").glob("*.sealed"))[:2]
    content = one.read_bytes()
    one.unlink()
    one.write_bytes(other.read_bytes())
    [finding] = after_build(build, request, image)
    assert "are missing or not those of the spec" in finding.what
    one.write_bytes(content)
    build.script.write_bytes(build.keyless.read_bytes())
    [finding] = after_build(build, request, image)
    assert finding.what.startswith("no key for the weights of ") and finding.what.count("/fold") == 4


def test_packages_of_the_image(house: House) -> None:
    image = kaggle_image()
    versions = {name: version for name, version in image.versions.items() if name != "timm"}
    less = Image(image.date, versions, image.imports)
    [finding] = after_build(house.build, build_request(house.build.folder), less)
    assert f"package 'timm' is not on the Kaggle image of {image.date}" in finding.what
