"""`foldpack quota` and `foldpack board` after a deploy, through the real client where Kaggle is asked."""

from __future__ import annotations

from pathlib import Path

from project import KERNEL, SUBMIT, Prepared, Site, make_site
from standin.client import Forker
from standin.server import CannedRunner
from standin.sessions import Outcome

from foldpack.settings.ensemble import read_spec, write_spec


def test_quota_tells_hours_and_running_kernels(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    site = make_site(tmp_path, prepared, forker, runner=CannedRunner(Outcome("RUNNING", seconds=5400.0)))
    with site.standin:
        assert site.deploy().returncode == 0
        shown = forker.run(["quota"], site.environment(), tmp_path, module="foldpack.commands.main")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "1.5" in shown.stdout and "28.5" in shown.stdout and KERNEL in shown.stdout


def test_quota_without_credentials(site: Site) -> None:
    site.credentials = "none"
    shown = site.forker.run(["quota"], site.environment(), site.folder, module="foldpack.commands.main")
    assert shown.returncode == 5, shown.stdout + shown.stderr
    assert shown.stderr.startswith("error: no Kaggle credentials found; make a token on"), shown.stderr


def test_quota_refuses_credentials_that_others_can_read(site: Site) -> None:
    environment = site.environment()
    for path in (Path(environment["HOME"]) / ".kaggle").iterdir():
        path.chmod(0o644)
    shown = site.forker.run(["quota"], environment, site.folder, module="foldpack.commands.main")
    assert shown.returncode == 5 and "others can read your credentials; chmod 600" in shown.stderr, shown.stderr


def test_the_board_takes_folders(site: Site) -> None:
    shown = site.forker.run(["board", "ensembles"], site.environment(), site.folder, module="foldpack.commands.main")
    assert shown.returncode == 0 and "tiny" in shown.stdout, shown.stdout + shown.stderr
    (site.folder / "empty").mkdir()
    shown = site.forker.run(["board", "empty"], site.environment(), site.folder, module="foldpack.commands.main")
    assert shown.returncode == 2 and "empty: no ensemble here; name the folder" in shown.stderr


def test_the_board_shows_the_score(site: Site) -> None:
    assert site.deploy(*SUBMIT).returncode == 0
    shown = site.forker.run(["board"], site.environment(), site.folder, module="foldpack.commands.main")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    score = site.standin.submissions[0].score
    assert "tiny" in shown.stdout and f"{score:.4f}"[:5] in shown.stdout


def test_a_stale_sample_and_other_endings_are_warned_of(site: Site, tmp_path: Path) -> None:
    data = site.house.copy_data(tmp_path)
    first, *_ = paths = sorted((data / "test").iterdir())
    first.rename(first.with_suffix(".JPG"))
    sample = (data / "sample_submission.csv").read_text().splitlines(keepends=True)
    (data / "sample_submission.csv").write_text("".join(sample[: len(paths) - 1]))
    done = site.deploy("--dry-run", "--rehearse", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    warned = f"warning: {data / 'test'}: "
    assert f"{warned}holds 2 images more than the 70 that sample_submission.csv asks for" in done.stdout
    assert f"{warned}1 of 70 images have another ending than expected and are taken" in done.stdout


def test_two_ensembles_that_kaggle_takes_for_one(site: Site) -> None:
    assert site.deploy("--dry-run").returncode == 0
    twin = site.ensemble.with_name("Tiny.yml")
    write_spec(twin, read_spec(site.ensemble).model_copy(update={"name": "Tiny"}))
    words = [str(twin) if word.endswith("tiny.yml") else word for word in site.words("--dry-run")]
    done = site.forker.start(words, site.environment(), site.folder, script=str(site.code / "deploy_kernel.py")).wait()
    assert done.returncode == 2 and "ensemble 'Tiny' would have the kernel and the datasets of 'tiny'" in done.stderr
