"""Files of a project's own: one way to name what is in them, and what is said of each that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldpack.settings.project_code import ProjectCodeError, is_project_code, load_code, split_code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("text", "ours"), [
    ("models.py", True), ("models.py:make_net", True), ("nets/deep.py:make_net", True), ("/tmp/metric.py", True),
    ("resnet18", False), ("vit_tiny.augreg_in21k", False), ("accuracy", False), ("models:make_net", False),
])
def test_what_names_a_file(text: str, ours: bool) -> None:
    assert is_project_code(text) is ours


def test_the_name_may_be_left_out_where_it_is_the_usual_one() -> None:
    assert split_code("metric.py", "metric") == (Path("metric.py"), "metric")
    assert split_code("nets/deep.py:make_net", "network") == (Path("nets/deep.py"), "make_net")


def test_a_name_is_found_with_what_its_file_imports_beside_it(project: Path) -> None:
    (project / "nets").mkdir()
    (project / "layers.py").write_text("WIDTH = 3\n")
    (project / "nets/deep.py").write_text("from layers import WIDTH\n\ndef make_net():\n    return WIDTH\n")
    made = load_code("nets/deep.py:make_net", "network")
    assert made() == 3 and made.__module__ == "nets.deep"
    assert load_code("nets/deep.py:make_net", "network") is made  # the file ran once


def test_another_project_has_its_own_files_of_the_same_names(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (project / name).mkdir()
        (project / name / "layers.py").write_text(f"NAME = '{name}'\n")
        (project / name / "parts.py").write_text("from layers import NAME as network\n")
        monkeypatch.chdir(project / name)
        assert load_code("parts.py", "network") == name


def test_a_folder_is_found_where_another_project_has_a_file_of_its_name(project: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("first", "models.py"), ("second", "models/deep.py")):
        (project / name / file).parent.mkdir(parents=True)
        (project / name / file).write_text(f"network = '{name}'\n")
        monkeypatch.chdir(project / name)
        assert load_code(file, "network") == name


def test_a_file_elsewhere_may_import_its_neighbours(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "numbers_of_mine.py").write_text("BEST = 7\n")
    (other / "metric_of_mine.py").write_text("from numbers_of_mine import BEST\nmetric = BEST\n")
    assert load_code(f"{other}/metric_of_mine.py", "metric") == 7


@pytest.mark.parametrize(("text", "source", "said"), [
    ("models.py:make_net", None, "network models.py:make_net: there is no file models.py in {here}; run the com"),
    ("models.py:make_net", "def make_nett(): ...", "models.py defines no 'make_net': did you mean 'make_nett'"),
    ("models.py:1", "x = 1", "network models.py:1: '1' is no name in a Python file; write FILE.py:NAME"),
    ("models.py", "import nothing_of_the_kind", "network models.py: models.py, line 1, 'import nothing_of_the_kind': "
     "ModuleNotFoundError: No module named 'nothing_of_the_kind'; mend it, or install what it imports"),
    ("models.py", "import layers", "network models.py: layers.py, line 2, 'raise ValueError(1)': ValueError: 1; "),
    ("models.py", "x = 1\ndef f(:\n", "network models.py: models.py, line 2, 'def f(:': SyntaxError: "),
    ("my-models.py", "network = 1", "a module cannot be called 'my-models'; rename it, with letters, digits and under"),
    ("json.py", "network = 1", "network json.py: an installed module is called 'json' too; rename the file"),
    ("numpy/net.py", "network = 1", "an installed module is called 'numpy' too; rename the file"),
])
def test_what_is_wrong_is_said_with_its_place(project: Path, text: str, source: str | None, said: str) -> None:
    (project / "layers.py").write_text("x = 1\nraise ValueError(1)\n")
    if source is not None:
        path = project / text.partition(":")[0]
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    with pytest.raises(ProjectCodeError) as caught:
        load_code(text, "network")
    assert said.format(here=project) in str(caught.value) and "\n" not in str(caught.value)
