"""`foldpack init`: a download becomes a project, whole or not at all; what cannot be told is asked or marked."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapes import OF_OBJECTS, SHAPES, make_shape
from typer.testing import CliRunner

from foldpack.commands import init as init_command
from foldpack.commands.main import app as foldpack
from foldpack.commands.run_app import run_app
from foldpack.settings.competition import read_competition
from foldpack.settings.project import read_project
from foldpack.settings.recipe import read_recipe


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_becomes_a_project_whose_files_are_read(shape: str, tmp_path: Path, capsys) -> None:
    data, project = tmp_path / "data", tmp_path / "my trees"
    make_shape(shape, data)
    assert run_app(foldpack, ["init", str(project), "--data", str(data), "--yes"]) == 0
    said = capsys.readouterr().out
    config = read_competition(project / "competition.yml")
    assert config.name == config.slug == "my-trees"
    told = read_project(project / "foldpack.yml")
    assert told.data == str(data) and told.competition == "competition.yml"
    page = (project / "competition.yml").read_text()
    assert "# guess: my-trees because the project's folder is called so" in page and "# guess: " in page
    if shape in OF_OBJECTS:
        assert told.recipe is None and files_of(project) == [".gitignore", "competition.yml", "foldpack.yml"]
        assert f"networks for {config.labels.kind} come later: there is no recipe yet" in said
        return
    recipe, [run] = read_recipe(project / "configs", "my-trees")
    assert recipe.competition == run.competition == "competition.yml" and told.recipe == "my-trees"
    assert ("grouped" in recipe.folds.kind) == (config.train.group is not None)
    assert run.net.channels == config.images.channels and run.net.pretrained.optional
    assert f"cd '{project}'\nlook at it:       foldpack look\ntry it, a minute: foldpack recipe . --quick\n" in said


def test_without_a_download_it_says_what_is_needed(tmp_path: Path, capsys) -> None:
    assert run_app(foldpack, ["init", str(tmp_path / "p")]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/p: a project is made of a download, and none is named; needed: --data DIR, the "
        f"competition's folder, unpacked, such as: foldpack init {tmp_path}/p --data ~/Downloads/titanic\n")
    assert not (tmp_path / "p").exists()


def test_the_page_says_why_above_each_key(tmp_path: Path) -> None:
    make_shape("places", tmp_path / "data")
    assert run_app(foldpack, ["init", str(tmp_path / "p"), "--data", str(tmp_path / "data"), "--yes",
                              "--slug", "iwildcam-2019-fgvc6"]) == 0
    page = (tmp_path / "p" / "competition.yml").read_text()
    assert "\n# iwildcam-2019-fgvc6 (you said so)\nslug: iwildcam-2019-fgvc6\n" in page
    assert ("# guess: a group is a location because 6 of them for 60 rows, so items of one stay in one fold; check it\n"
            "train:\n  source: {kind: csv, file: train.csv}\n  id: '{id}'\n  image: train_images/{file_name}\n"
            "  group: '{location}'\n") in page
    assert "# macro_f1 (that of iwildcam-2019-fgvc6)\nmetric: {name: macro_f1}\n" in page


def test_in_a_terminal_what_cannot_be_told_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shape("label_in_name", tmp_path / "data")
    monkeypatch.setattr(init_command, "is_terminal", lambda: True)
    asked = ["init", str(tmp_path / "p"), "--data", str(tmp_path / "data")]
    done = CliRunner().invoke(foldpack, asked, input="7\n2\n")
    assert done.exit_code == 0, done.output
    assert ("answer: 'label' is the probability of which class? (the sample does not say)\n  1  that of 'dog'\n"
            "  2  that of 'cat'\nwhich [1]: 7\n'7' is none of them: write a number from 1 to 2\n") in done.output
    assert read_competition(tmp_path / "p" / "competition.yml").answer.model_dump()["of"] == "cat"
    assert "could not tell" not in (tmp_path / "p" / "competition.yml").read_text()


def test_without_a_terminal_the_best_is_taken_and_marked(tmp_path: Path) -> None:
    make_shape("label_in_name", tmp_path / "data")
    done = CliRunner().invoke(foldpack, ["init", str(tmp_path / "p"), "--data", str(tmp_path / "data")])
    assert done.exit_code == 0
    page = (tmp_path / "p" / "competition.yml").read_text()
    assert "# could not tell, taken: that of 'dog'; the sample does not say; it may be: that of 'cat'\n" in page


@pytest.mark.parametrize("what", ["a file in it", "a file itself", "no download", "no sample"])
def test_nothing_is_written_where_it_cannot_be(what: str, tmp_path: Path, capsys) -> None:
    data, project = tmp_path / "data", tmp_path / "p"
    make_shape("one_column", data)
    if what == "a file in it":
        project.mkdir()
        (project / "notes.txt").write_text("mine")
    elif what == "a file itself":
        project.write_text("mine")
    elif what == "no download":
        data = tmp_path / "nowhere"
    else:
        (data / "sample_submission.csv").unlink()
    before = files_of(tmp_path)
    assert run_app(foldpack, ["init", str(project), "--data", str(data), "--yes"]) == 2
    said = capsys.readouterr().err
    assert files_of(tmp_path) == before
    assert {"a file in it": "it is not empty, got: notes.txt; a project is written into a new folder",
            "a file itself": "it is not empty, got: a file", "no download": "no such folder; give the competition's",
            "no sample": "there is no sample submission, got: train.csv, names.json"}[what].replace(
                "train.csv, names.json", "") in said and said.count("\n") == 1


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    make_shape("one_column", tmp_path / "data")
    (tmp_path / "p").mkdir()
    assert run_app(foldpack, ["init", str(tmp_path / "p"), "--data", str(tmp_path / "data"), "--yes"]) == 0
    assert files_of(tmp_path / "p") == [".gitignore", "competition.yml", "configs/p/baseline.yml",
                                        "configs/p/recipe.yml", "foldpack.yml"]


@pytest.mark.parametrize(("where", "message"), [("data", "it is the download itself, "),
                                                ("data/train/p", "it is in the download, "),
                                                ("outer/p", "it would lie inside the project ")])
def test_a_project_lies_in_no_download_and_in_no_project(where: str, message: str, tmp_path: Path, capsys) -> None:
    make_shape("one_column", tmp_path / "data")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "foldpack.yml").write_text("recipe: x\n")
    before = files_of(tmp_path)
    assert run_app(foldpack, ["init", str(tmp_path / where), "--data", str(tmp_path / "data"), "--yes"]) == 2
    said = capsys.readouterr().err
    assert message in said and "delete" not in said and said.count("\n") == 1 and files_of(tmp_path) == before
