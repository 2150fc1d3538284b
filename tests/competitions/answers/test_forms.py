"""Each form of an answer: what it fills in is content to its own check, and each fault is told in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldpack.competitions.answer_table import AnswerTable, read_answer_table, write_answers
from foldpack.competitions.answers.check import check_submission, read_submission, submission_faults
from foldpack.competitions.answers.form import Form, Known
from foldpack.competitions.answers.registry import form_of
from foldpack.data.answers import Answers
from foldpack.errors import DataError
from foldpack.settings.answer_forms import (
    AnswerForm,
    ClassAnswer,
    GradesAnswer,
    LabelsAnswer,
    ProbabilitiesAnswer,
    ProbabilityAnswer,
    RankingAnswer,
    ValuesAnswer,
)

CLASSES = ["cat", "dog", "great auk"]
KNOWN = Known(classes=CLASSES)
ONE = ClassAnswer(kind="class", id="id", column="kind", map={"great auk": "3"})
CHANCE = ProbabilityAnswer(kind="probability", id="id", column="is_dog", of="dog")
CHANCES = ProbabilitiesAnswer(kind="probabilities", id="id", sums_to_1=True)
NAMED = ProbabilitiesAnswer(kind="probabilities", id="id", columns={"cat": "c", "dog": "d", "great auk": "a"})
JOINED = LabelsAnswer(kind="labels", id="id", column="kinds", separator="|", empty="none", map={"great auk": "3"})
COLUMNS = LabelsAnswer(kind="labels", id="id", map={"great auk": "auk"})
BEST = RankingAnswer(kind="ranking", id="id", column="best", k=2, separator=";")
BEST_FIVE = RankingAnswer(kind="ranking", id="id", column="best", k=5, separator=", ")
AGES = ValuesAnswer(kind="values", id="id", columns=["age", "mass"], range=[0, 0.1])
AGE = ValuesAnswer(kind="values", id="id", columns=["years"])
GRADE = GradesAnswer(kind="grades", id="id", column="grade")
PROBS = Answers(numbers=np.array([[0.25, 0.5, 0.25], [0.125, 0.75, 0.375]], dtype=np.float32), columns=CLASSES)


GOOD = {"kind": "cat", "is_dog": "0.5", "kinds": "cat|3", "cat": "1", "dog": "0", "auk": "0", "best": "dog;cat",
        "age": "0", "mass": "0.1", "years": "-1", "grade": "2"}  # cells that are fine, by column


def sample_of(text: str, path: Path) -> AnswerTable:
    path.write_text(text)
    return read_answer_table(path, "id", []).named()


def faults_of(answer: AnswerForm, text: str, tmp_path: Path, sample: str = "", known: Known = KNOWN) -> list[str]:
    """What is said of a submission, without the name of the file."""
    path, form = tmp_path / "submission.csv", form_of(answer)
    path.write_text(text)
    asked = sample_of(sample, tmp_path / "sample.csv") if sample else None
    found = submission_faults(read_submission(path, form, known), form, asked, known)
    return [fault.line(path).removeprefix(f"{path}: ") for fault in found]


def filled(answer: AnswerForm, answers: Answers, ids: list[str], sample: str, tmp_path: Path,
           known: Known = KNOWN) -> str:
    """The submission, which its own check has found good."""
    form: Form = form_of(answer)
    asked = sample_of(sample, tmp_path / "sample.csv")
    write_answers(tmp_path / "submission.csv", form.fill(answers, ids, asked))
    check_submission(tmp_path / "submission.csv", form, asked, known)
    if len(set(asked.ids)) == len(asked.ids):  # without the sample nobody knows that an id is asked for twice
        check_submission(tmp_path / "submission.csv", form, None, Known())
    return (tmp_path / "submission.csv").read_text()


@pytest.mark.parametrize(("answer", "answers", "sample", "text"), [
    (ONE, Answers([["great auk"], ["dog"]], columns=CLASSES), "id,kind\nb,0\na,0\n", "id,kind\nb,dog\na,3\n"),
    (ONE, Answers([["cat"], ["dog"]]), ",id,kind,Usage\n0,b,0,x\n1,a,0,\n2,b,0,\n",
     "id,kind,Usage\nb,dog,x\na,cat,\nb,dog,\n"),  # no row numbers; an id that is asked for twice; another column stays
    (CHANCE, PROBS, "id,is_dog\na,0.5\nb,0.5\n", "id,is_dog\na,0.5\nb,0.75\n"),
    (CHANCES, PROBS, "great auk,id,cat,dog\n0,a,0,0\n0,b,0,0\n",
     "great auk,id,cat,dog\n0.25,a,0.25,0.5\n0.3,b,0.1,0.6\n"),
    (NAMED, PROBS, "id,a,c,d\nb,0,0,0\n", "id,a,c,d\nb,0.375,0.125,0.75\n"),
    (JOINED, Answers([["great auk", "cat"], []], columns=CLASSES), "id,kinds\na,\nb,\n", "id,kinds\na,3|cat\nb,none\n"),
    (COLUMNS, Answers([["great auk", "cat"], []], columns=CLASSES), "id,dog,cat,auk\na,,,\nb,,,\n",
     "id,dog,cat,auk\na,0,1,1\nb,0,0,0\n"),
    (BEST, Answers([["dog", "great auk", "cat"], ["dog"]], columns=CLASSES), "id,best\na,\nb,\n",
     "id,best\na,dog;great auk\nb,dog;cat\n"),
    (BEST_FIVE, Answers([["dog", "great auk", "cat"], []], columns=CLASSES), "id,best\na,\nb,\n",
     'id,best\na,"dog, great auk, cat"\nb,"cat, dog, great auk"\n'),
    (AGES, Answers(numbers=np.array([[0.1, 2], [0.05, -1]], dtype=np.float32), columns=["mass", "age"]),
     "id,age,mass\nb,,\na,,\n", "id,age,mass\nb,0,0.0500000007\na,0.1,0.1\n"),
    (AGE, Answers(numbers=np.array([[-7.5], [1e9]], dtype=np.float32), columns=["age"]), "id,years\na,\nb,\n",
     "id,years\na,-7.5\nb,1e+09\n"),
    (GRADE, Answers(numbers=np.array([[2], [0]]), columns=["age"]), "id,grade\na,\nb,\n", "id,grade\na,2\nb,0\n"),
    (GRADE, Answers([["2"], ["0"]], columns=["0", "1", "2"]), "id,grade\na,\nb,\n", "id,grade\na,2\nb,0\n"),
], ids=["class", "repeated", "probability", "sum", "named", "joined", "columns", "ranking", "few", "values", "value",
        "grades", "grade names"])
def test_what_is_filled_in_is_valid(answer: AnswerForm, answers: Answers, sample: str, text: str,
                                    tmp_path: Path) -> None:
    assert filled(answer, answers, ["a", "b"], sample, tmp_path) == text


def test_probabilities_that_must_sum_to_1_do_so_even_where_all_are_0(tmp_path: Path) -> None:
    numbers = np.array([[0, 0, 0], [2, -1, 0], [1e-30, 0, 1e-30]], dtype=np.float32)  # a blend may lie beyond 0 and 1
    text = filled(CHANCES, Answers(numbers=numbers, columns=CLASSES), ["a", "b", "c"],
                  "id,cat,dog,great auk\na,,,\nb,,,\nc,,,\n", tmp_path)
    assert text.splitlines()[1:] == ["a,0.333333333,0.333333333,0.333333333", "b,1,0,0", "c,0.5,0,0.5"]


@pytest.mark.parametrize(("answer", "cell", "said"), [
    (ONE, "cow", "kind is 'cow', which is no class; allowed: cat, dog, 3"),
    (ONE, "dgo", "kind is 'dgo', which is no class; did you mean 'dog'? allowed: cat, dog, 3"),
    (ONE, " dog", "kind is ' dog', which is no class; did you mean 'dog'? allowed: cat, dog, 3"),
    (ONE, "great auk", "kind is 'great auk', which is no class; allowed: cat, dog, 3"),  # the answer calls it 3
    (ONE, "", "kind is empty; allowed: the name of a class"),
    (CHANCE, "", "is_dog is empty; allowed: numbers from 0 to 1"),
    (CHANCE, "nan", "is_dog is 'nan', which is no number; allowed: numbers from 0 to 1"),
    (CHANCE, "inf", "is_dog is 'inf', which is no number; allowed: numbers from 0 to 1"),
    (CHANCE, "1e999", "is_dog is 1e999; allowed: numbers from 0 to 1"),
    (CHANCE, "1_0", "is_dog is '1_0', which is no number; allowed: numbers from 0 to 1"),
    (CHANCE, " 1", "is_dog is ' 1', which is no number; allowed: numbers from 0 to 1"),
    (CHANCE, "1.0001", "is_dog is 1.0001; allowed: numbers from 0 to 1"),
    (CHANCE, "-1e-9", "is_dog is -1e-9; allowed: numbers from 0 to 1"),
    (JOINED, "", "kinds is empty; allowed: names of classes, or 'none' for none"),
    (JOINED, "cat|cow", "kinds is 'cow', which is no class; allowed: cat, dog, 3"),
    (JOINED, "cat|dog|cat", "kinds is 'cat|dog|cat', which names 'cat' twice; allowed: each class once"),
    (JOINED, "cat| dog", "kinds is 'cat| dog', which has a stray space or separator; allowed: exactly '|' between two "
                         "names"),
    (JOINED, "cat|", "kinds is 'cat|', which has a stray space or separator; allowed: exactly '|' between two names"),
    (COLUMNS, "1.0", "cat is '1.0'; allowed: 0, 1"),
    (BEST, "cat;dog;great auk", "best is 3 classes, 'cat;dog;great auk'; allowed: 1 to 2, each once"),
    (BEST, "cat;cat", "best is 'cat;cat', which names 'cat' twice; allowed: each class once"),
    (BEST, "", "best is 0 classes, ''; allowed: 1 to 2, each once"),
    (BEST_FIVE, "dog, cat, dog, cat", "best is 4 classes, 'dog, cat, dog, cat'; allowed: 1 to 3, each once"),
    (AGES, "-0.01", "age is -0.01; allowed: numbers from 0 to 0.1"),
    (AGE, "ten", "years is 'ten', which is no number; allowed: a finite number"),
    (AGE, "-1e999", "years is -1e999; allowed: a finite number"),
    (GRADE, "3", "grade is '3'; allowed: whole numbers from 0 to 2"),
    (GRADE, "1.0", "grade is '1.0'; allowed: whole numbers from 0 to 2"),
    (GRADE, "01", "grade is '01'; allowed: whole numbers from 0 to 2"),
])
def test_a_cell_that_is_no_answer_is_told(answer: AnswerForm, cell: str, said: str, tmp_path: Path) -> None:
    columns = form_of(answer).columns(CLASSES)
    good = "cat, dog, great auk" if answer is BEST_FIVE else GOOD[columns[0]]
    more = "," * len(columns[1:])
    others = "".join(f",{GOOD[column]}" for column in columns[1:])
    text = f'id,{",".join(columns)}\na,"{good}"{others}\nb,"{cell}"{others}\n'
    assert faults_of(answer, text, tmp_path) == [f"row 2, id 'b': {said}"]
    sample = f"id,{','.join(columns)}\na,{more}\nb,{more}\n"
    assert faults_of(answer, text, tmp_path, sample) == [f"row 2, id 'b': {said}"]


def test_without_the_classes_a_name_has_only_to_be_there(tmp_path: Path) -> None:
    said = faults_of(ONE, "id,kind\na,cow\nb,\nc, cow\n", tmp_path, known=Known())
    assert said == ["row 2, id 'b': kind is empty; allowed: the name of a class",
                    "row 3, id 'c': kind is ' cow', which has blanks around it; write the name alone"]


def test_fewer_classes_than_can_be_ranked_are_a_fault_of_ours_only(tmp_path: Path) -> None:
    text, form = "id,best\na,cat\nb,dog;cat\n", form_of(BEST)
    assert faults_of(BEST, text, tmp_path) == []
    table = read_submission(tmp_path / "submission.csv", form, KNOWN)
    assert form.notes(table, KNOWN) == ["1 of 2 rows name fewer than 2 classes; more guesses cost nothing"]
    ours = faults_of(BEST, text, tmp_path, known=Known(CLASSES, ours=True))
    assert ours == ["row 1, id 'a': best is 1 classes, 'cat'; allowed: 2, each once"]
    assert faults_of(BEST_FIVE, 'id,best\na,"dog, cat, great auk"\n', tmp_path, known=Known(CLASSES, ours=True)) == []


def test_a_sum_that_is_not_1_is_told(tmp_path: Path) -> None:
    head = "id,cat,dog,great auk\n"
    assert faults_of(CHANCES, head + "a,0.2,0.3,0.5\nb,0.2,0.3,0.50005\n", tmp_path) == []
    assert faults_of(CHANCES, head + "a,0.2,0.3,0.4\n", tmp_path, known=Known()) == [
        "row 1, id 'a': its 3 probabilities sum to 0.9; allowed: 1, give or take 0.0001"]
    assert faults_of(CHANCES, head + "a,0.2,2,0.4\n", tmp_path) == [
        "row 1, id 'a': dog is 2; allowed: numbers from 0 to 1"]
    assert faults_of(NAMED, "id,c,d,a\nx,0.2,0.3,0.4\n", tmp_path) == []


SAMPLE = "id,kind\na,\nb,\nc,\n"


@pytest.mark.parametrize(("text", "said"), [
    ("id,kind\na,cat\nb,cat\n", ["1 of 3 ids are missing, such as 'c'; each id of the sample submission needs a row"]),
    ("id,kind\na,cat\nb,cat\nc,cat\nd,cat\n",
     ["row 4, id 'd': the sample submission does not ask for this id; leave the row out"]),
    ("id,kind\na,cat\nb,cat\nb,dog\nc,cat\n", ["row 3, id 'b': has 2 rows; allowed: 1, as in the sample submission"]),
    ("kind,id\ncat,a\ncat,b\ncat,c\n", ["columns kind, id; allowed: id, kind, in this order"]),
    ("id,kind,more\na,cat,\nb,cat,\nc,cat,\n", ["columns id, kind, more; allowed: id, kind, in this order"]),
    (",id,kind\n0,a,cat\n1,b,cat\n2,c,cat\n", [
        "columns one without a name, id, kind; allowed: id, kind, in this order; leave the row numbers out (pandas: "
        "to_csv(index=False))"]),
    ("id,kind\nc,cat\na,cat\nb,cat\n", []),  # ids tell rows apart
], ids=["missing", "surplus", "twice", "columns", "one more", "row numbers", "order"])
def test_rows_and_columns_that_are_not_those_of_the_sample_are_told(text: str, said: list[str], tmp_path: Path) -> None:
    assert faults_of(ONE, text, tmp_path, SAMPLE) == said


def test_the_order_of_our_own_submissions_is_that_of_the_sample(tmp_path: Path) -> None:
    path, asked = tmp_path / "submission.csv", sample_of(SAMPLE, tmp_path / "sample.csv")
    path.write_text("id,kind\na,cat\nc,cat\nb,cat\n")
    with pytest.raises(DataError) as caught:
        check_submission(path, form_of(ONE), asked, KNOWN)
    assert str(caught.value) == (f"{path}: row 2, id 'c': the sample submission has id 'b' here; keep its order")
    twice = "id,kind\na,\nb,\na,\n"  # where an id stands twice nothing else tells its rows apart
    assert faults_of(ONE, "id,kind\na,cat\na,cat\nb,cat\n", tmp_path, twice) == [
        "row 2, id 'a': the sample submission has id 'b' here; keep its order"]


def test_what_can_be_said_without_the_sample(tmp_path: Path) -> None:
    assert faults_of(ONE, "id,kind\na,cat\na,dog\n", tmp_path) == [
        "row 2, id 'a': stands there more than once; allowed: one row for each id"]
    assert faults_of(ONE, ",id,kind\n0,a,cat\n", tmp_path) == [
        "a column has no name; write the table without its row numbers (pandas: to_csv(index=False))"]
    with pytest.raises(DataError, match="submission.csv: column 'kind' is missing, got: id, label; needed: id, kind"):
        faults_of(ONE, "id,label\na,cat\n", tmp_path)


@pytest.mark.parametrize(("answer", "answers", "said"), [
    (ONE, PROBS, "an answer of kind 'class' cannot be written from numbers; allowed decisions: class"),
    (ONE, Answers([["cat", "dog"]]), "an answer of kind 'class' cannot be written from 2 classes of an item; allowed"),
    (CHANCE, Answers([["dog"]], columns=CLASSES), "an answer of kind 'probability' cannot be written from names; a"),
])
def test_answers_of_another_form_are_refused(answer: AnswerForm, answers: Answers, said: str) -> None:
    with pytest.raises(DataError) as caught:
        form_of(answer).cells(answers)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("answer", "names", "said"), [
    (AGES, ["age"], "answer.columns: 2 columns (age, mass) for 1 values (age); each value needs its column"),
    (BEST, ["cat", "a;b"], "answer.separator is ';', which class 'a;b' has in it, or it has blanks around; allowed: "
                           "names without; say in answer.map what the answer calls it, or set another separator where "
                           "there is one"),
    (CHANCE, ["cat", "dgo"], "answer.of is 'dog', which is none of the classes: did you mean 'dgo'? Allowed: cat, dgo"),
    (NAMED, ["cat", "dog"], "answer.columns: 'great auk' is no class; each class needs its column: Allowed: cat, dog"),
    (NAMED, [*CLASSES, "dodo"], "answer.columns: 'dodo' has no column; each class needs its column: "
                                "Allowed: cat, dog, great auk"),
])
def test_classes_that_the_answer_cannot_tell_are_refused_at_once(answer: AnswerForm, names: list[str],
                                                                 said: str) -> None:
    with pytest.raises(DataError) as caught:
        form_of(answer).made_up(["a"], names)
    assert str(caught.value) == said
