"""What `foldpack.yml` says in place of --data and --competition."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapes import make_shape
from shapes_on_page import BLOCKS
from typer.testing import CliRunner

from foldpack.commands.main import app
from foldpack.commands.project import ProjectError, named_data, told_competition, told_data


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which we stand."""
    (tmp_path / "seals").mkdir()
    monkeypatch.chdir(tmp_path / "seals")
    return tmp_path / "seals"


def test_what_is_given_comes_first(project: Path) -> None:
    (project / "foldpack.yml").write_text("competition: other.yml\ndata: ../data\n")
    assert told_data(Path("here")) == Path("here") and told_competition("digits") == "digits"
    assert told_data(None) == Path("../data") == named_data(None) and told_competition(None) == "other.yml"


def test_what_nothing_says_is_asked_for(project: Path) -> None:
    assert named_data(None) is None
    with pytest.raises(ProjectError) as caught:
        told_data(None)
    assert str(caught.value) == "foldpack.yml: there is no such file here; give --data DIR, the competition's folder"
    with pytest.raises(ProjectError, match=r"^foldpack.yml: .* and no competition.yml; enter the folder of your proj"):
        told_competition(None)
    (project / "competition.yml").write_text("")
    assert told_competition(None) == "competition.yml"
    (project / "foldpack.yml").write_text("recipe: seals\n")
    with pytest.raises(ProjectError, match=r"^foldpack.yml: it names no data; give --data DIR"):
        told_data(None)


def test_in_a_project_the_commands_need_no_more(project: Path) -> None:
    perfect = make_shape("identities", project.parent / "data", train=40, test=12)
    perfect.to_csv(project / "mine.csv", index=False)
    (project / "foldpack.yml").write_text("data: ../data\n")
    (project / "competition.yml").write_text(BLOCKS["identities"])
    run = CliRunner().invoke
    for arguments in (["look", "--no-duplicates"], ["check-submission", "mine.csv"], ["groups"],
                      ["folds", "--kind", "stratified", "--count", "2"]):
        done = run(app, arguments)
        assert done.exit_code == 0, done.output
    assert (project / "look.html").exists() and (project / "folds.csv").exists() and (project / "groups.csv").exists()
