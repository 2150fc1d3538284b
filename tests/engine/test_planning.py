"""Time, order of work, and where the inputs are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foldpack.engine.deadline import Deadline, OutOfTime, process_age
from foldpack.engine.units import plan_units
from foldpack.kernel.inputs import (
    SEARCH_DEPTH,
    InputError,
    files_named,
    find_competition,
    find_sealed,
    missing_text,
)
from foldpack.sealed.container import new_data_key, seal_file
from foldpack.settings.ensemble import parse_spec
from foldpack.settings.stages import PlanSpec, SpecError, StageSpec


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_counts_from_the_start_of_the_process_and_keeps_its_margin() -> None:
    clock = Clock()
    deadline = Deadline(hours=1.0, margin=0.1, clock=clock, already_run=40.0)
    assert deadline.elapsed() == 40.0 and deadline.left() == pytest.approx(3600 * 0.9 - 40)
    clock.now += 3199
    deadline.check()
    assert deadline.left() == pytest.approx(1)
    clock.now += 1
    with pytest.raises(OutOfTime, match="out of time after 3240 s"):
        deadline.check()
    clock.now += 500
    assert deadline.left() == pytest.approx(-500)


def test_a_stage_may_use_all_that_is_left_until_it_has_an_answer_and_then_its_share() -> None:
    clock = Clock()
    whole = Deadline(hours=1.0, margin=0.0, clock=clock, already_run=600.0)
    first = whole.part(0.4)
    clock.now += 100
    assert first.elapsed() == whole.elapsed() == 700 and first.left() == whole.left() == 2900
    first.bind()
    first.reserve(60)
    assert first.left() == pytest.approx(0.4 * 3000 - 100 - 60) and whole.left() == 2900  # its reserve is its own
    clock.now += 1040
    with pytest.raises(OutOfTime):
        first.check()
    last = whole.part(1.0)  # what the first has left
    last.bind()
    assert last.left() == whole.left() == 1860
    clock.now += 1861
    with pytest.raises(OutOfTime):
        last.check()


def test_a_stage_without_an_answer_ends_with_the_whole() -> None:
    clock = Clock()
    first = Deadline(hours=1.0, margin=0.0, clock=clock).part(0.1)
    clock.now += 3599
    first.check()
    clock.now += 1
    with pytest.raises(OutOfTime):
        first.check()


def test_no_hours_are_over_at_once() -> None:
    with pytest.raises(OutOfTime):
        Deadline(0.0, 0.06, Clock()).check()


def test_the_age_of_a_process_counts_from_its_start() -> None:
    code = "import time; time.sleep(0.5); from foldpack.engine.deadline import process_age; print(process_age())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.4 < float(done.stdout) < 60
    assert process_age() > 0.4


def test_without_proc_the_age_is_0(monkeypatch) -> None:
    def fail(*args: object, **options: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert process_age() == 0.0


def make_spec(*members: tuple[str, float, int]) -> StageSpec:
    return parse_spec({
        "name": "best", "competition": "digits", "slug": "s", "task": "multiclass", "classes": ["a", "b"],
        "prior": [0.5, 0.5], "metric": {"name": "accuracy", "oof": 0.9},
        "members": [{"run": run, "weight": weight, "views": ["identity"], "size": 32, "seconds_per_image": 0.1,
                     "folds": [{"fold": k, "sha256": "a" * 64} for k in range(folds)]}
                    for run, weight, folds in members]}).last


def roles(spec: StageSpec) -> list[str]:
    return [unit.role for unit in plan_units(spec)]


def test_without_a_plan_first_one_fold_of_each_heaviest_first() -> None:
    spec = make_spec(("light", 1.0, 2), ("heavy", 3.0, 3), ("none", 0.0, 2))
    assert roles(spec) == ["heavy/fold0", "light/fold0", "heavy/fold1", "light/fold1", "heavy/fold2"]


def planned(*units: tuple[str, int]) -> StageSpec:
    plan = {"units": [{"run": run, "fold": fold} for run, fold in units],
            "prefixes": [{"members": [{"run": "a", "weight": 1.0}], "oof": 0.5}]}
    spec = make_spec(("a", 1.0, 2), ("b", 3.0, 2), ("none", 0.0, 1))
    return spec.model_copy(update={"plan": PlanSpec.model_validate(plan)})


def test_a_plan_goes_first_and_what_it_leaves_out_follows() -> None:
    assert roles(planned(("a", 1), ("b", 0))) == ["a/fold1", "b/fold0", "a/fold0", "b/fold1"]


@pytest.mark.parametrize("strange", [("a", 7), ("c", 0), ("none", 0)])
def test_a_plan_that_names_what_is_not_there(strange: tuple[str, int]) -> None:
    with pytest.raises(SpecError) as caught:
        plan_units(planned(("a", 0), strange))
    assert f"plan.units names fold {strange[1]} of run '{strange[0]}'" in str(caught.value)
    assert str(caught.value).endswith("run `foldpack search` again")


SAMPLE = ("sample_submission.csv", ["id", "label"])


def write_sample(folder: Path, text: str = "id,label\n") -> Path:
    folder.mkdir(parents=True)
    (folder / "sample_submission.csv").write_text(text)
    return folder


@pytest.mark.parametrize("place", ["competitions/foldpack-digits", "foldpack-digits", "", "a/b/c/d/e"])
def test_the_competition_is_found_wherever_it_is_mounted(tmp_path: Path, place: str) -> None:
    folder = write_sample(tmp_path / "input" / place)
    assert find_competition(tmp_path / "input", *SAMPLE, "foldpack-digits") == folder


def test_of_two_samples_the_one_below_the_slug_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "the-slug" / "input"  # the slug above the root must not count
    write_sample(root / "a-dataset")
    folder = write_sample(root / "competitions" / "the-slug" / "data")
    assert find_competition(root, *SAMPLE, "the-slug") == folder
    assert find_competition(root, *SAMPLE, "other") == root / "a-dataset"


def test_the_search_ends_at_the_right_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders behind it, full of images perhaps, are not even listed: the first second is short."""
    folder = write_sample(tmp_path / "competitions" / "the-slug")
    (folder / "test").mkdir()
    listed, real = [], os.scandir

    def scandir(path: str) -> object:
        listed.append(Path(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_competition(tmp_path, *SAMPLE, "the-slug") == folder
    assert listed == [tmp_path, tmp_path / "competitions", folder]


@pytest.mark.parametrize(
    ("text", "told"),
    [("id,target\n", "has: id, target"), ("", "cannot be read as CSV"), ("\xff", "has: \xff"),
     ("label\n", "has: label")],
)
def test_a_sample_of_another_competition_does_not_count(tmp_path: Path, text: str, told: str) -> None:
    sample = write_sample(tmp_path / "a", text) / "sample_submission.csv"
    with pytest.raises(InputError) as caught:
        find_competition(tmp_path, *SAMPLE, "foldpack-digits")
    assert str(caught.value) == (f"no sample_submission.csv with columns id, label below {tmp_path}; "
                                 f"{sample} {told}; attach the competition 'foldpack-digits' to the kernel")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(InputError, match="attach the competition"):
        find_competition(tmp_path / "nothing", *SAMPLE, "foldpack-digits")


def test_files_are_found_in_a_fixed_order_and_not_below_the_depth(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefgh")
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent, tmp_path / "a", tmp_path):
        (folder / "x.sealed").touch()
        (folder / "x.csv").touch()
    found = list(files_named(tmp_path, ".sealed", suffix=True))
    assert found == [tmp_path / "x.sealed", tmp_path / "a" / "x.sealed", deep.parent / "x.sealed"]
    assert len(deep.relative_to(tmp_path).parts) == SEARCH_DEPTH + 1
    assert list(files_named(tmp_path, "x.csv"))[0] == tmp_path / "x.csv"


def seal(folder: Path, name: str, role: str) -> str:
    (folder / "plain").write_bytes(role.encode())
    return seal_file(folder / "plain", folder / name, new_data_key(), role).header_sha256


def test_sealed_files_are_found_by_what_they_are(tmp_path: Path, capsys) -> None:
    one, two = seal(tmp_path, "one.sealed", "a/fold0"), seal(tmp_path, "two.sealed", "a/fold1")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.move(tmp_path / "one.sealed", tmp_path / "deep" / "er" / "other name.sealed")
    shutil.copy(tmp_path / "two.sealed", tmp_path / "deep" / "two.sealed")
    (tmp_path / "broken.sealed").write_bytes(b"nothing")
    found, missing, damaged = find_sealed(tmp_path, {one: "a/fold0", two: "a/fold1"})
    assert not missing and len(damaged) == 1 and "broken.sealed" in damaged[0]
    assert found == {one: tmp_path / "deep" / "er" / "other name.sealed", two: tmp_path / "two.sealed"}
    assert "not usable as weights: " in capsys.readouterr().out


def test_a_sealed_file_is_found_under_any_name(tmp_path: Path) -> None:
    one = seal(tmp_path, "one.sealed", "a/fold0")
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.sealed").rename(tmp_path / "sub" / "weights.bin")
    assert find_sealed(tmp_path, {one: "a/fold0"}) == ({one: tmp_path / "sub" / "weights.bin"}, [], [])


def test_all_missing_weights_are_named(tmp_path: Path) -> None:
    one = seal(tmp_path, "one.sealed", "a/fold0")
    found, missing, _ = find_sealed(tmp_path, {"0" * 64: "b/fold0", one: "a/fold0", "1" * 64: "b/fold1"})
    assert found == {one: tmp_path / "one.sealed"} and missing == ["b/fold0", "b/fold1"]
    damaged = "x.sealed: 5 of 9 bytes are there; copy it again"
    assert missing_text(["a/fold0"], tmp_path, [damaged]) == (
        f"sealed weights of a/fold0 cannot be used: {damaged} (1 damaged files below {tmp_path}); deploy again, so "
        "that the weights dataset is whole")
    assert missing_text(missing, tmp_path, []) == (
        f"sealed weights of b/fold0, b/fold1 are not below {tmp_path}; attach the weights dataset in the version that "
        "this kernel was packed with")
