"""`foldpack quota` and `foldpack board` after a deploy, through the real client where Kaggle is asked."""

from __future__ import annotations

from pathlib import Path

from project import KERNEL, SUBMIT, Prepared, Site, make_site
from standin.client import Forker
from standin.server import CannedRunner
from standin.sessions import Outcome


def test_quota_tells_hours_and_running_kernels(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    site = make_site(tmp_path, prepared, forker, runner=CannedRunner(Outcome("RUNNING", seconds=5400.0)))
    with site.standin:
        assert site.deploy().returncode == 0
        shown = forker.run(["quota"], site.environment(), tmp_path, module="foldpack.cli")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "1.5" in shown.stdout and "28.5" in shown.stdout and KERNEL in shown.stdout


def test_quota_without_credentials(site: Site) -> None:
    site.credentials = "none"
    shown = site.forker.run(["quota"], site.environment(), site.folder, module="foldpack.cli")
    assert shown.returncode == 5 and "credentials" in shown.stderr, shown.stdout + shown.stderr


def test_quota_refuses_credentials_that_others_can_read(site: Site) -> None:
    environment = site.environment()
    for path in (Path(environment["HOME"]) / ".kaggle").iterdir():
        path.chmod(0o644)
    shown = site.forker.run(["quota"], environment, site.folder, module="foldpack.cli")
    assert shown.returncode == 5 and "others can read your credentials; chmod 600" in shown.stderr, shown.stderr


def test_the_board_takes_folders(site: Site) -> None:
    shown = site.forker.run(["board", "ensembles"], site.environment(), site.folder, module="foldpack.cli")
    assert shown.returncode == 0 and "tiny" in shown.stdout, shown.stdout + shown.stderr
    (site.folder / "empty").mkdir()
    shown = site.forker.run(["board", "empty"], site.environment(), site.folder, module="foldpack.cli")
    assert shown.returncode == 2 and "empty: no ensemble here; name the folder" in shown.stderr


def test_the_board_shows_the_score(site: Site) -> None:
    assert site.deploy(*SUBMIT).returncode == 0
    shown = site.forker.run(["board"], site.environment(), site.folder, module="foldpack.cli")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    score = site.standin.submissions[0].score
    assert "tiny" in shown.stdout and f"{score:.4f}"[:5] in shown.stdout
