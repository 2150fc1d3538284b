"""Adapters of a project's own: an object or a class, and what is said of one that lacks something."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import PLAIN

from foldpack.competitions.adapters import find_adapter
from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search.metric_fit import require_form_fits
from foldpack.settings.competition import competition_text, parse_competition
from foldpack.settings.run import ConfigError

WHOLE = '''
class Birds:
    name = slug = "birds"
    task, sample_csv, id_column = "multiclass", "sample_submission.csv", "id"

    def train(self, root): ...
    def test(self, root): ...
    def made_up(self, ids, stage): ...
    def fill(self, answers, ids, sample): ...
    def check(self, path, stage, root=None): ...

birds = Birds()
'''


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_class_and_an_object_are_both_adapters(project: Path) -> None:
    (project / "adapter_of_birds.py").write_text(WHOLE)
    assert find_adapter("adapter_of_birds.py:Birds").slug == "birds"
    assert find_adapter("adapter_of_birds.py:birds").name == "birds"


def test_an_adapter_may_build_on_the_declared_one(project: Path) -> None:
    (project / "declared.py").write_text(
        "from foldpack.competitions.answers.names import ClassForm\n"
        "from foldpack.competitions.declared import DeclaredCompetition\n"
        "from foldpack.competitions.item_rules import ItemRules\n"
        "from foldpack.competitions.sources.csv_table import read_csv_table\n"
        "from foldpack.settings.answer_forms import ClassAnswer\n\n\n"
        "class Birds(DeclaredCompetition):\n"
        "    task = 'multiclass'\n\n"
        "    def train(self, root): ...\n\n\n"
        "competition = Birds('b', 'b', ClassForm(ClassAnswer(kind='class', id='img', column='y')), "
        "ItemRules(read_csv_table, {'file': 'sample_submission.csv'}, id='{img}', image='test/{img}.jpg'))\n")
    (project / "sample_submission.csv").write_text("img,y\nx,0\n")
    assert find_adapter("declared.py").test(project).images == [project / "test/x.jpg"]


@pytest.mark.parametrize(("name", "change", "said"), [
    ("no_method", lambda text: text.replace("def test(", "def tests("), "no_method.py:Birds: it lacks test(); a compe"),
    ("no_text", lambda text: text.replace('"id"', "None"), "no_text.py:Birds: it lacks id_column; a"),
    ("arguments", lambda text: text.replace("joiner = ", "joiner = ").replace("\n    def train",
     "\n    def __init__(self, root): ...\n    def train").split("birds =")[0],
     "competition arguments.py:Birds: the class cannot be made without arguments ("),
    ("nothing", lambda text: "class Birds:\n    pass\n", "it lacks train(), test(), made_up(), fill(), check(), n"),
])
def test_what_an_adapter_lacks_is_named(project: Path, name: str, change, said: str) -> None:
    (project / f"{name}.py").write_text(change(WHOLE))
    with pytest.raises(DataError) as caught:
        find_adapter(f"{name}.py:Birds")
    assert said in str(caught.value)


def test_the_metric_of_a_competition_file_is_looked_up_when_it_is_read(project: Path) -> None:
    settings = parse_competition({**PLAIN, "metric": {"name": "acuracy"}}, "competition.yml")
    (project / "competition.yml").write_text(competition_text(settings))
    with pytest.raises(ConfigError, match=r"^competition.yml: metric 'acuracy' is not known: did you mean 'accuracy'"):
        find_adapter("competition.yml")
    (project / "competition.yml").write_text(competition_text(parse_competition(PLAIN, "competition.yml")))
    assert find_adapter("competition.yml").name == "birds"


def test_a_search_refuses_a_metric_that_the_answer_has_not(project: Path) -> None:
    (project / "competition.yml").write_text(competition_text(parse_competition(PLAIN, "competition.yml")))
    require_form_fits(get_metric("macro_f1"), find_adapter("competition.yml"), ["a", "b"])
    line = ("^competition 'birds': metric 'auc' scores probabilities, and an answer of kind 'class' has none; set "
            "answer.kind to probability or probabilities, or the metric to one of: accuracy, error, macro_f1, map1")
    with pytest.raises(DataError, match=line):
        require_form_fits(get_metric("auc"), find_adapter("competition.yml"), ["a", "b"])


def test_a_search_refuses_a_one_sided_metric_of_the_other_class(project: Path) -> None:
    changed = {**PLAIN, "answer": {"kind": "probability", "id": "id", "column": "label", "of": "cat"}}
    (project / "competition.yml").write_text(competition_text(parse_competition(changed, "competition.yml")))
    adapter, classes = find_adapter("competition.yml"), ["cat", "dog"]
    require_form_fits(get_metric("auc"), adapter, classes)  # the same for either class
    require_form_fits(get_metric("pf1"), adapter, ["dog", "cat"])
    line = ("metric 'pf1' takes the second class for the positive one, which is 'dog', and answer.of is 'cat'; set "
            r"labels.classes to \[dog, cat\] and train again")
    with pytest.raises(DataError, match=line):
        require_form_fits(get_metric("pf1"), adapter, classes)
