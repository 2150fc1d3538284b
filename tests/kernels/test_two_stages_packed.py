"""Two stages of a project's own, from images to a rehearsed kernel: sealed, packed by the written entry, run alone."""

from __future__ import annotations

import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from page_project import LINES, SHADES, Blobs, ShadeNet
from two_stages import ADAPTER, FOLDS, NETWORK, PROJECT_FILE, TASK, draw_pages, member_of_net, nets, save_net, spec_of

from foldpack.commands.main import app
from foldpack.commands.project import tool_source
from foldpack.commands.run_app import run_app
from foldpack.data.runs import FoldMeta, RunMeta, checkpoint_path, write_meta
from foldpack.files import sha256_file
from foldpack.kernel.main import run_kernel
from foldpack.predict.views import views_of_spec
from foldpack.settings.ensemble import parse_spec, read_spec, sealed_parts, spec_to_dict, write_spec
from foldpack.settings.network import NetConfig
from foldpack.settings.stages import SpecError
from foldpack.tasks.classify import CLASSIFY
from packer.build.where import verify_script
from packer.flatten.script_keys import keys_in_script
from packer.kaggle.exits import Exit

DEPLOY = ["deploy", "ensembles/two.yml", "--dry-run", "--runs", "runs", "--keyring", "keyring", "--owner", "someone",
          "--rehearse", "data"]


@dataclass(frozen=True)
class Deployed:
    """A project after `foldpack deploy --dry-run --rehearse data`."""

    project: Path
    truth: dict[str, str]  # of each page
    code: int
    said: str  # in the terminal

    @property
    def build(self) -> Path:
        return self.project / "build" / "two"

    def rehearsed(self, scene: str, file: str = "output/submission.csv") -> Path:
        return self.build / "rehearsal" / scene / file


def write_project(project: Path) -> dict[str, str]:
    """Code, pages, weights that nobody trained, and the ensemble. Returns what is to be read on each page."""
    shutil.copy(Path(__file__).parents[1] / "page_project.py", project / PROJECT_FILE)
    words = draw_pages(project / "data")
    members = {}
    for run, net in nets().items():
        (project / "runs" / run).mkdir(parents=True)
        folds = []
        for fold in range(FOLDS):
            weights = checkpoint_path(project / "runs" / run, fold)
            save_net(weights, run, fold, net)
            folds.append({"fold": fold, "sha256": sha256_file(weights)})
        members[run] = member_of_net(run, net, folds)
    write_run(project / "runs" / "read", nets()["read"], members["read"]["folds"])  # `find` has its weights alone
    write_spec(project / "ensembles" / "two.yml", parse_spec(spec_of(members)))
    return {page: " ".join(said) for page, said in words.items()}


def write_run(folder: Path, net: NetConfig, folds: list[dict]) -> None:
    """What a training says of its run."""
    write_meta(folder, RunMeta(
        run=folder.name, competition=ADAPTER, task="multiclass", classes=SHADES, prior=[0.5, 0.5], network=NETWORK,
        size=net.size, geometry=net.geometry, views=["identity"], metric="accuracy", score=0.5,
        folds=[FoldMeta(fold=one["fold"], items=1, score=0.5, epoch=0, sha256=one["sha256"]) for one in folds],
        seconds_per_image=1e-4, config_sha256="1" * 64, folds_sha256="2" * 64, oof_sha256="4" * 64,
        targets_sha256="5" * 64, versions={}))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    project, said = tmp_path_factory.mktemp("pages"), StringIO()
    truth = write_project(project)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(project)
        code = run_app(app, DEPLOY)
    return Deployed(project, truth, code, said.getvalue())


def cells(submission: Path) -> dict[str, str]:
    table = pd.read_csv(submission, dtype=str, keep_default_na=False)
    return dict(zip(table["id"], table["label"], strict=True))


def test_the_deploy_seals_packs_and_rehearses_both_stages(deployed: Deployed) -> None:
    assert deployed.code == 0, deployed.said
    spec = read_spec(deployed.build / "spec.yml")
    assert [stage.task for stage in spec.stages] == [TASK, "classify"]
    parts = sealed_parts(spec)
    assert [part.role for part in parts] == ["find/fold0", "find/fold1", "read/fold0", "read/fold1"]
    assert all((deployed.build / "weights" / part.file).is_file() for part in parts)
    assert set(keys_in_script((deployed.build / "two.py").read_text())) == {part.file for part in parts}
    assert spec.fallback == {"label": ""}  # a page of which nothing is known has no boxes
    log = deployed.rehearsed("scoring", "log.txt").read_text()
    assert "boxes in 6 images" in log and "4 of 4 units" in log


def test_the_preflight_tells_what_boxes_cost(deployed: Deployed) -> None:
    said = " ".join(deployed.said.split())
    assert "of a budget of 9 h, if an image has one box" in said
    assert "note: decoded images take 0.0 GB: 64 px: 0.0 GB in /tmp; 32 px box: 6 of 6 images are decoded again" in said
    assert "That is 12 decodes more" in said  # by each of two units of every page


def test_the_rehearsed_kernel_reads_every_page(deployed: Deployed) -> None:
    first = [*deployed.truth][:3]
    assert "none" in first and deployed.truth["none"] == ""
    assert cells(deployed.rehearsed("public")) == {page: deployed.truth[page] for page in first}
    found = cells(deployed.rehearsed("scoring"))
    broken = [page for page in found if not is_whole(deployed, page)]
    assert len(broken) == 1 and broken[0] not in first
    assert found == {**{page: deployed.truth[page] for page in found}, broken[0]: found[broken[0]]}
    assert found.keys() == deployed.truth.keys()


def is_whole(deployed: Deployed, page: str) -> bool:
    """Whether the rehearsal left a page as it was."""
    shown = deployed.rehearsed("scoring", f"competition/test/{page}.png")
    return shown.read_bytes() == (deployed.project / "data" / "test" / f"{page}.png").read_bytes()


def test_the_script_answers_as_the_package_does(deployed: Deployed) -> None:
    spec, keys = read_spec(deployed.build / "spec.yml"), keys_in_script((deployed.build / "two.py").read_text())
    tasks = {TASK: Blobs(), "classify": CLASSIFY}
    for scene in ("public", "scoring"):
        inputs, output = (str(deployed.rehearsed(scene, name)) for name in ("input", "direct"))
        arguments = ["--input", inputs, "--output", output, "--hours", "1"]
        assert run_kernel(spec_to_dict(spec), keys, arguments, tasks, LINES,
                          views_of_spec(spec_to_dict(spec)), {NETWORK: ShadeNet}) == 0
        direct = deployed.rehearsed(scene, "direct/submission.csv")
        assert direct.read_bytes() == deployed.rehearsed(scene).read_bytes()


def test_the_script_has_the_projects_task_and_can_be_written_again(deployed: Deployed) -> None:
    script = (deployed.build / "two.keyless.py").read_text()
    assert f"# ======== {PROJECT_FILE} ========" in script and "class Blobs:" in script
    assert f"tasks={{'{TASK}': Blobs(), 'classify': CLASSIFY}}" in script
    assert "class RegressTask" not in script and "class EmbedTask" not in script
    verdict = verify_script(script, tool_source(), project=deployed.project)
    assert verdict.identical, verdict.difference


def test_weights_of_a_task_of_ones_own_are_pinned_too(deployed: Deployed, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(deployed.project)
    weights = Path("runs/find/fold1.safetensors")
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole + b"x")
        changed = run_app(app, DEPLOY), capsys.readouterr().err
        weights.unlink()
        missing = run_app(app, DEPLOY), capsys.readouterr().err
    finally:
        weights.write_bytes(whole)
    assert changed[0] == missing[0] == Exit.RUNS
    assert f"{weights}: the weights changed since the search" in changed[1]
    assert f"{weights}: the weights of fold 1 are missing" in missing[1]


def test_numbers_of_boxes_are_no_answer() -> None:
    folds = [{"fold": 0, "sha256": "0" * 64}]
    spec = spec_of({run: member_of_net(run, net, folds) for run, net in nets().items()})
    spec["stages"][1]["decision"] = {"kind": "probs"}
    with pytest.raises(SpecError, match="stage 'read' decides 'probs' of boxes; allowed: class, labels, ranking"):
        parse_spec(spec)
