"""A kernel of two stages: a task made up here finds dark blobs on pages, a classifier reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from page_project import LINES, Blobs, ShadeNet
from two_stages import FOLDS, NETWORK, PAGES, SIDE, TASK, draw_pages, member_of_net, nets, save_net, spec_of

from foldpack.kernel import stage as kernel_stage
from foldpack.kernel.main import run_kernel
from foldpack.predict.views import views_of_spec
from foldpack.sealed.container import new_data_key, seal_file
from foldpack.settings.ensemble import fold_role
from foldpack.tasks.classify import CLASSIFY


@dataclass
class Kernel:
    """The pages, the sealed weights and the spec of a kernel that runs in this process."""

    root: Path
    spec: dict
    keys: dict[str, str]
    log: Callable[[], str]
    words: dict[str, list[str]]  # of each page

    def run(self, output: str = "output", *arguments: str) -> int:
        places = ["--input", str(self.root / "input"), "--output", str(self.root / output), "--hours", "20"]
        return run_kernel(self.spec, self.keys, [*places, *arguments], {TASK: Blobs(), "classify": CLASSIFY}, LINES,
                          views_of_spec(self.spec), {NETWORK: ShadeNet})

    def cells(self, output: str = "output") -> dict[str, str]:
        table = pd.read_csv(self.root / output / "submission.csv", dtype=str, keep_default_na=False)
        return dict(zip(table["id"], table["label"], strict=True))

    @property
    def truth(self) -> dict[str, str]:
        return {page: " ".join(words) for page, words in self.words.items()}


def make_kernel(root: Path, log: Callable[[], str], pages: dict[str, int] = PAGES, side: int = SIDE) -> Kernel:
    words = draw_pages(root / "input" / "lines", pages, side)
    keys: dict[str, str] = {}
    members = {}
    for run, net in nets(side).items():
        folds = []
        for fold in range(FOLDS):
            save_net(root / "plain.safetensors", run, fold, net)
            key, name = new_data_key(), f"{run}{fold}".encode().hex().zfill(32)
            sealed = seal_file(root / "plain.safetensors", root / "input" / "weights" / f"{name}.sealed", key,
                               fold_role(run, fold), file_id=bytes.fromhex(name))
            keys[f"{name}.sealed"] = bytes(key).hex()
            folds.append({"fold": fold, "sha256": "3" * 64, "file": f"{name}.sealed", "header": sealed.header_sha256})
        members[run] = member_of_net(run, net, folds)
    table = {"sample": "sample_submission.csv", "id_column": "id", "columns": ["label"]}
    return Kernel(root, spec_of(members, fallback={"label": "?"}, table=table), keys, log, words)


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


@pytest.fixture
def kernel(tmp_path: Path, log: Callable[[], str]) -> Kernel:
    return make_kernel(tmp_path, log)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_what_is_found_is_read_and_empty_pages_keep_their_place(kernel: Kernel, workers: tuple[str, ...],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_stage, "START_METHOD", "fork")
    assert kernel.run("output", *workers) == 0
    assert kernel.cells() == kernel.truth
    log = kernel.log()
    assert "find: 18 boxes in 6 images" in log and "4 of 4 units" in log
    assert sorted(path.name for path in (kernel.root / "output").iterdir()) == ["foldpack_log.jsonl", "submission.csv"]


def test_when_every_page_is_empty_that_is_the_answer(tmp_path: Path, log: Callable[[], str]) -> None:
    kernel = make_kernel(tmp_path, log, {"a": 0, "b": 0})
    assert kernel.run() == 0
    assert kernel.cells() == {"a": "", "b": ""}
    assert "find: 0 boxes in 2 images" in kernel.log()


def test_a_page_of_1200_boxes_is_read_beside_others(tmp_path: Path, log: Callable[[], str]) -> None:
    kernel = make_kernel(tmp_path, log, {"small": 2, "full": 1200, "none": 0}, side=176)
    assert kernel.run() == 0
    assert kernel.cells() == kernel.truth and len(kernel.words["full"]) == 1200


def test_a_page_that_cannot_be_read_has_no_boxes(kernel: Kernel) -> None:
    (kernel.root / "input" / "lines" / "test" / "few.png").write_bytes(b"broken")
    assert kernel.run() == 0
    assert kernel.cells() == {**kernel.truth, "few": ""}


class Killed(BaseException):
    """The end of the process."""


def killed_at(kernel: Kernel, stage: str, call: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until some method of the runner of a stage is called for the so-many-th time."""
    runner = kernel_stage.StageRunner
    real, calls = getattr(runner, name), [0]

    def end(self: kernel_stage.StageRunner, *arguments: object) -> object:
        calls[0] += self.stage.name == stage
        if calls[0] == call:
            raise Killed
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(runner, name, end)
        with pytest.raises(Killed):
            kernel.run()


@pytest.mark.parametrize(("stage", "call", "said"), [
    ("find", 2, ["find: 6 items, 2 units (1 finished before)", "read: 6 items, 2 units (0 finished before)"]),
    ("read", 1, ["find: finished by a process before this one", "read: 6 items, 2 units (0 finished before)"]),
    ("read", 2, ["find: finished by a process before this one", "read: 6 items, 2 units (1 finished before)"]),
])
def test_a_restart_in_either_stage_goes_on_where_it_was(kernel: Kernel, stage: str, call: int, said: list[str],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.run("whole") == 0
    killed_at(kernel, stage, call, "finish", monkeypatch)
    kernel.log()
    assert kernel.run() == 0
    log = kernel.log()
    assert all(words in log for words in said), log
    whole, again = (kernel.root / name / "submission.csv" for name in ("whole", "output"))
    assert again.read_bytes() == whole.read_bytes()


def test_a_frozen_stage_is_never_continued(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second unit was too late. The next process has time for it, but the boxes are those that were read."""
    kernel.spec["budget"] = {"on_error": "stand"}
    real = kernel_stage.StageRunner.begin

    def begin(self: kernel_stage.StageRunner, unit: int) -> object:
        if self.stage.name == "find" and unit == 1:
            raise OSError("too late")
        return real(self, unit)

    with monkeypatch.context() as patch:
        patch.setattr(kernel_stage.StageRunner, "begin", begin)
        killed_at(kernel, "read", 2, "finish", monkeypatch)
    kernel.log()
    assert kernel.run() == 0
    log = kernel.log()
    assert "find: finished by a process before this one" in log and "find: 6 items" not in log
    assert "(1 finished before)" in log and kernel.cells() == kernel.truth


def test_without_time_for_the_first_stage_the_fallback_stands(kernel: Kernel) -> None:
    assert kernel.run("output", "--hours", "0.000001") == 1
    assert set(kernel.cells().values()) == {"?"}
