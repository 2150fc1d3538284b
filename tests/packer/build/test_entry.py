"""The entry that a deploy writes: it hands in what the spec names, from our registries or from the project's files."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import pytest

from foldpack.predict.view import View
from foldpack.predict.views import parse_view
from made_competition import competition_of
from small_house import PROJECT, House

from foldpack.settings.competition import competition_text
from foldpack.settings.competition import competition_text
from packer.build.entry import ensemble_layout, entry_text
from packer.build.pack import pack_layout
from packer.errors import PackError

SRC = PROJECT / "src"


def make_spec(competition: str = "digits", *networks: str) -> dict:
    """What the entry reads of an ensemble."""
    members = [{"run": "a", "views": ["identity"]} | ({"network": name} if name else {}) for name in networks or ("",)]
    return {"name": "best", "competition": competition, "stages": [{"task": "classify", "members": members}]}


def handed(text: str) -> list[str]:
    """The arguments of the call that the entry ends with."""
    call = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name) and node.func.id == "run_kernel")
    return [f"{each.arg}={ast.unparse(each.value)}" for each in call.keywords]


IMET = ("adapter=DeclaredCompetition(name='imet', slug='imet-2019-fgvc6', form=LabelsForm(answer=LabelsAnswer(kind="
        "'labels', id='id', column='attribute_ids')), rules=ItemRules(read=read_sample_table, source={'file': "
        "'sample_submission.csv', 'id': 'id'}, id='{id}', image='test/{id}.png'))")


def test_a_competition_of_ours_is_taken_from_the_registry(tmp_path: Path) -> None:
    text = entry_text(make_spec("imet"), SRC, tmp_path)
    assert "from foldpack.competitions.declared import DeclaredCompetition\n" in text and "digits" not in text.lower()
    assert handed(text) == ["tasks={'classify': CLASSIFY}", IMET, "views={'identity': View('identity')}",
                            "networks={}", "level2=None"]
    assert "Exit codes: 0 only with a checked submission" in (ast.get_docstring(ast.parse(text)) or "")


def test_what_is_the_projects_own_is_imported_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/deep.py").write_text("def make_net(): ...\n\nclass Wide: ...\n")
    (tmp_path / "adapter.py").write_text("class Birds: ...\n\ncompetition = Birds()\n")
    text = entry_text(make_spec("adapter.py:Birds", "nets/deep.py:make_net", "", "nets/deep.py:Wide"), SRC, tmp_path)
    assert "from adapter import Birds\n" in text and "from nets.deep import Wide, make_net\n" in text
    assert handed(text) == [
        "tasks={'classify': CLASSIFY}", "adapter=Birds()", "views={'identity': View('identity')}",
        "networks={'nets/deep.py:make_net': make_net, 'nets/deep.py:Wide': Wide}", "level2=None"]
    assert handed(entry_text(make_spec("adapter.py"), SRC, tmp_path))[1] == "adapter=competition"


def test_views_are_written_out_so_that_no_kernel_reads_their_names(house: House, tmp_path: Path) -> None:
    names = ["identity", "rot90+scale:1.25", "side:64+grey"]
    spec = make_spec()
    spec["stages"][0]["members"][0]["views"] = names
    text = entry_text(spec, SRC, tmp_path)
    [views] = [each.removeprefix("views=") for each in handed(text) if each.startswith("views=")]
    found = eval(views, {"View": View, "Fraction": Fraction})
    assert found == {name: parse_view(name) for name in names} and [found[name].name for name in names] == names
    assert "from fractions import Fraction\n" in text
    script = house.build.keyless.read_text()
    for name in ("parse_view", "VIEW_TURNS", "CROP_PLACES", "five-crop"):
        assert name not in script


@pytest.mark.parametrize(("spec", "said"), [
    (make_spec("gone.py"), "gone.py:1: rule 0: the file does not exist; check the name"),
    (make_spec("digits", "/tmp/models.py:net"), "network /tmp/models.py:net: what a kernel takes along must lie in the p"),
    (make_spec("digits", "../models.py:net"), "network ../models.py:net: what a kernel takes along must lie in the proj"),
    (make_spec("digits", "models.py:net"), "network models.py:net: models.py defines no 'net' at its top, so it cannot"),
])
def test_what_cannot_be_handed_in_is_said(tmp_path: Path, spec: dict, said: str) -> None:
    (tmp_path / "models.py").write_text("from other import net\n")
    with pytest.raises(PackError) as caught:
        entry_text(spec, SRC, tmp_path)
    assert str(caught.value).startswith(said)


def test_a_project_that_is_not_named_is_not_looked_at(tmp_path: Path) -> None:
    assert ensemble_layout(make_spec(), SRC, tmp_path).project is None
    (tmp_path / "adapter.py").write_text("competition = 1\n")
    assert ensemble_layout(make_spec("adapter.py"), SRC, tmp_path).project == tmp_path


def test_the_script_of_an_ensemble_has_no_other_competition(house: House) -> None:
    script = house.build.keyless.read_text()
    assert "slug='foldpack-digits'" in script and "# ======== entry.py ========" in script
    for name in ("IMET", "TASKS", "COMPETITIONS", "get_competition", "find_adapter", "write_digits", "load_code",
                 "class_truth", "CompetitionConfig", "LabelsForm", "read_files_table", "imet-2019"):
        assert name not in script
    both = pack_layout(ensemble_layout(make_spec("imet"), SRC, Path()), spec=house.kernel_spec()).text
    assert "slug='imet-2019-fgvc6'" in both and "slug='foldpack-digits'" not in both


def test_only_the_script_of_an_ensemble_with_level_two_has_it(house: House) -> None:
    spec = make_spec()
    spec["stages"][0]["level2"] = [{"top": 3}]
    assert handed(entry_text(spec, SRC, Path()))[-1] == "level2=open_level2"
    both = pack_layout(ensemble_layout(spec, SRC, Path()), spec=house.kernel_spec()).text
    sources = [ast.parse((SRC / f"foldpack/ensemble/{name}.py").read_text()) for name in ("level2", "candidates")]
    names = {node.name for source in sources for node in source.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {"open_level2", "BoosterFuser", "read_xgboost", "candidate_table"} <= names
    names |= {"import lightgbm", "import xgboost", "LEVEL2_SHARE", "CANDIDATE_ROWS"}
    assert {name for name in names if name in both} == names
    assert not {name for name in names if name in house.build.keyless.read_text()}


def test_of_a_competition_file_the_kernels_half_is_written_out(tmp_path: Path, house: House) -> None:
    test = {"source": {"kind": "csv", "file": "test.csv", "separator": ";"}, "id": "{id}", "image": "{split}/{id}.png"}
    text = competition_text(competition_of(test=test, labels={"kind": "class", "column": "of_training"}).config)
    (tmp_path / "competition.yml").write_text(text)
    entry = entry_text(make_spec("competition.yml"), SRC, tmp_path)
    adapter = next(line for line in handed(entry) if line.startswith("adapter="))
    assert adapter == (
        "adapter=DeclaredCompetition(name='birds', slug='birds-2026', form=ClassForm(answer=ClassAnswer(kind='class', "
        "id='id', column='label')), rules=ItemRules(read=read_csv_table, source={'file': 'test.csv', 'separator': ';'}, "
        "id='{id}', image='{split}/{id}.png'))")
    layout = ensemble_layout(make_spec("competition.yml"), SRC, tmp_path)
    script = pack_layout(layout, spec=house.kernel_spec()).text
    for name in ("read_csv_table", "class ClassForm(", "class DeclaredCompetition"):
        assert name in script
    for name in ("of_training", "read_coco_table", "RankingForm", "MasksAnswer", "class CocoSource", "class_truth", "import bson"):
        assert name not in script


def test_a_competition_file_outside_the_project(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="competition ../competition.yml: it must lie in the project's folder"):
        entry_text(make_spec("../competition.yml"), SRC, tmp_path)
