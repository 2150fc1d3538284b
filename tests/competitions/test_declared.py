"""Test items of a competition that a file tells of: the sample decides what is answered, and what is odd is noted."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import competition_of, write_files
from made_stages import stage_of

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.answer_table import read_answer_table, write_answers
from foldpack.competitions.registry import COMPETITIONS
from foldpack.data.answers import Answers
from foldpack.errors import DataError
from foldpack.kernel.inputs import find_competition
from foldpack.settings.competition import competition_text
from foldpack.settings.run import ConfigError

CSV = {"kind": "csv", "file": "test.csv"}


def test_the_sample_decides_what_is_answered_and_its_order(tmp_path: Path) -> None:
    write_files(tmp_path, {"sample_submission.csv": ",id,label\n0,b,0\n1,a,0\n2,b,0\n"}, "test/a.png", "test/b.jpg")
    items = competition_of().test(tmp_path)
    assert items.ids == ["b", "a"] and items.images == [tmp_path / "test/b.jpg", tmp_path / "test/a.png"]
    assert items.notes == [f"{tmp_path / 'test'}: 1 of 2 images have another ending than expected and are taken, such "
                           "as 'b.jpg' for 'b.png'"]


def test_a_sample_with_semicolons_is_read_where_it_lists_the_items_and_names_the_classes(tmp_path: Path) -> None:
    write_files(tmp_path, {"sample_submission.csv": "id;cat;dog\nb;0;0\na;0;0\n", "train.csv": "id,label\nt,dog\n"},
                "test/a.png", "test/b.png", "train/t.png")
    competition = competition_of(labels={"kind": "class", "column": "label", "classes": "answer"},
                                 answer={"kind": "probabilities", "id": "id"}, metric={"name": "log_loss"})
    assert competition.test(tmp_path).ids == ["b", "a"] and competition.train(tmp_path).classes == ["cat", "dog"]
    assert find_competition(tmp_path.parent, "sample_submission.csv", ["id", "cat", "dog"], "birds-2026") == tmp_path


def test_the_sample_may_call_items_otherwise(tmp_path: Path) -> None:
    write_files(tmp_path, {"test.csv": "img,number\nx,0001\ny,0002\nz,0003\n",
                           "sample_submission.csv": "id,label\n0002,0\n0001,0\n0009,0\n"}, "test/x.png", "test/y.png")
    test = {"source": CSV, "id": "{img}", "image": "test/{img}.png", "answer": "{number}"}
    items = competition_of(test=test).test(tmp_path)
    assert items.ids == ["y", "x", "0009"] and items.images[0] == tmp_path / "test/y.png"
    assert items.notes == [
        f"{tmp_path / 'test.csv'}: tells of 1 items more than the 3 that sample_submission.csv asks for, such as '0003'"
        "; they are not answered",
        f"{tmp_path / 'test'}: 1 images of the 3 that sample_submission.csv asks for are missing, such as '0009'; "
        "their rows get the prior"]


@pytest.mark.parametrize(("sample", "said"), [
    ("id,label\n7,0\n8,0\n", "id '7' stands in {root}/test.csv as '007': one of them has lost its zeros; take the "),
    ("id,label\na,0\nb,0\n", "none of its 2 ids is among the test items, such as 'a'; {root}/test.csv, line 2 is cal"
                             "led '007'; set test.answer (or test.id) to what the sample calls it"),
])
def test_ids_that_are_not_those_of_the_test_items(tmp_path: Path, sample: str, said: str) -> None:
    write_files(tmp_path, {"test.csv": "id\n007\n010\n", "sample_submission.csv": sample})
    with pytest.raises(DataError) as caught:
        competition_of(test__source=CSV).test(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'sample_submission.csv'}: {said.format(root=tmp_path)}")


def test_rows_of_one_id_with_different_images(tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": "id,file,label\na,x,1\nb,y,1\na,z,1\n"})
    with pytest.raises(DataError, match=r"train.csv, line 4: id 'a' has image 'train/z.png', and 'train/x.png' in .*"
                                        r"train.csv, line 2; each image needs an id of its own"):
        competition_of(train__image="train/{file}.png").train(tmp_path)


def test_an_empty_id(tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": "id,label\na,1\n,2\n"})
    with pytest.raises(DataError, match="train.csv, line 3: its id is empty; each row needs one"):
        competition_of().train(tmp_path)


def test_a_star_in_the_path_of_an_image(tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": "id,label\na,1\nb,2\nc,1\n"}, "train/s1/k/a_96_64.png", "train/s2/b_1.png",
                "train/s2/m/b_32_32.png")
    items = competition_of(train__image="train/*/*/{id}_*.png").train(tmp_path).items
    assert items.images == [tmp_path / "train/s1/k/a_96_64.png", tmp_path / "train/s2/m/b_32_32.png",
                            tmp_path / "train/*/*/c_*.png"]
    write_files(tmp_path, {}, "train/s2/n/b_9.png")
    with pytest.raises(DataError, match=r"train/\*/\*/b_\*.png: 'train/s2/m/b_32_32.png' and 'train/s2/n/b_9.png' both "
                                        "fit; write more of the path"):
        competition_of(train__image="train/*/*/{id}_*.png").train(tmp_path)


def test_a_file_of_the_project_is_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_files(tmp_path, {"competition.yml": competition_text(competition_of().config)}))
    assert find_adapter("competition.yml") == competition_of()


def test_a_fault_in_the_file_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"competition.yml: labels.size: list should have at least 2 items, not 1"):
        competition_of(labels={"kind": "masks", "column": "x", "size": ["h"]})
    with pytest.raises(ConfigError, match="unknown key 'train.source.seperator': did you mean 'separator'"):
        competition_of(train__source={"kind": "csv", "file": "a.csv", "seperator": ";"})


@pytest.mark.parametrize(("changes", "said"), [
    ({"train__id": {"image": None}}, 'train.id: without quotes YAML takes {image} for a mapping; write "{image}"'),
    ({"slug": "https://www.kaggle.com/c/birds"}, "slug: 'https://www.kaggle.com/c/birds' is no name; allowed: letters, "
                                                 "digits, '_', '.' and '-', at most 80"),
    ({"answer": {"kind": "probability", "id": "id", "column": "label"}},
     "key 'answer.of' is missing; needed: the class whose probability is asked for, as the labels call it"),
])
def test_what_a_key_wants_is_said_in_words(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        competition_of(**changes)
    assert str(caught.value).startswith(f"competition.yml: {said}")


def test_the_name_of_a_metric_may_stand_alone() -> None:
    assert competition_of(metric="macro_f1") == competition_of(metric={"name": "macro_f1"})


def test_a_submission_is_filled_in_and_checked(tmp_path: Path) -> None:
    """Further columns stay as the sample has them; an id that is asked for twice is answered twice."""
    write_files(tmp_path, {"sample_submission.csv": "usage,label,id\nPublic,0,x\n,0,y\nPrivate,0,x\n"})
    competition, path, stage = competition_of(), tmp_path / "submission.csv", stage_of(["0", "1"])
    assert competition.test(tmp_path).ids == ["x", "y"]
    sample = read_answer_table(tmp_path / "sample_submission.csv", "id", [])
    write_answers(path, competition.fill(Answers([["1"], ["0"]], columns=["0", "1"]), ["x", "y"], sample))
    assert path.read_bytes() == b"usage,label,id\nPublic,1,x\n,0,y\nPrivate,1,x\n"
    competition.check(path, stage, tmp_path)
    for text, said in (("id,label\nx,1\ny,0\nx,1\n", "columns id, label; allowed: usage, label, id"),
                       ("usage,label,id\n,1,x\n,0,y\n", "row 1, id 'x': has 1 rows; allowed: 2, as in the sample"),
                       ("usage,label,id\n,1,x\n,7,y\n,1,x\n", "label is '7', which is no class"),
                       ("id,lab", "column 'label' is missing")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            competition.check(path, stage, tmp_path)


def test_the_names_of_our_competitions() -> None:
    assert all(find_adapter(name).name == name for name in COMPETITIONS)
    assert {name: find_adapter(name).task for name in COMPETITIONS} == {
        "digits": "multiclass", "digits-retrieval": "ranking", "digits-values": "values", "imet": "multilabel"}
    with pytest.raises(DataError, match="unknown competition 'digit': did you mean 'digits'. Allowed: digits, .*; or "
                                        "name a competition.yml or an adapter"):
        find_adapter("digit")


def test_a_sample_may_ask_for_an_empty_id(tmp_path: Path) -> None:
    write_files(tmp_path, {"sample_submission.csv": "id,label\nx,0\n,0\n"}, "test/x.png")
    items = competition_of().test(tmp_path)
    assert items.ids == ["x", ""] and "1 images of the 2 that sample_submission.csv asks for" in items.notes[0]
