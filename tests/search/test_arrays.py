"""The search on files, from the arguments to the YAML, and the YAML applied to other files."""

import json

import numpy as np
import pandas as pd
import pytest

from foldpack.errors import DataError, FoldpackError
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import get_metric
from foldpack.search.files.array_inputs import read_arrays
from foldpack.search.files.arrays import ArraySearch, search_arrays
from foldpack.search.files.blend_files import blend_files
from foldpack.search.files.blend_spec import read_blend
from foldpack.search.files.fold_files import make_folds
from foldpack.search.files.inputs import fold_siblings
from foldpack.search.files.tables import read_raw
from foldpack.search.find import SearchOptions
from foldpack.search.level2.fit import Level2Options
from foldpack.search.report.report import report_html, report_json, report_lines
from foldpack.settings.ensemble import write_spec

RNG = np.random.default_rng(91)
N = 150
LABELS = RNG.random((N, 5)) < 0.25
LABELS[:, 0] |= ~LABELS.any(axis=1)  # an item without labels cannot score 1
PROBS = [1 / (1 + np.exp(-(2 * LABELS - 1 + RNG.normal(0, s, LABELS.shape)))) for s in (1, 1.1, 1.5)]
F2, LOGIT = get_metric("f2"), SearchOptions(spaces=["logit"])  # one solver: these tests are about files


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "y.npy", LABELS)
    for k, probs in enumerate(PROBS):
        np.save(tmp_path / f"model{'abc'[k]}.npy", probs)
    return tmp_path


def members(folder):
    return [folder / f"model{k}.npy" for k in "abc"]


def test_the_search_of_files_and_its_yaml_give_the_reported_score(files):
    spec, numbers = search_arrays(files / "best.yml", ArraySearch(members(files), files / "y.npy", F2, options=LOGIT))
    write_spec(files / "best.yml", spec)
    assert read_blend(files / "best.yml") == spec
    order = [files / f"{member.name}.npy" for member in spec.last.files.members]
    assert blend_files(files / "best.yml", order, files / "out.npy", files / "decided.npy") == (N, 5)
    assert F2(LABELS, np.load(files / "decided.npy")) == pytest.approx(spec.metric.oof, abs=1e-6)
    assert numbers["scores"]["in_sample"] == pytest.approx(spec.metric.oof, abs=1e-6)


def test_the_report_holds_the_same_numbers_in_text_json_and_html(files):
    _, numbers = search_arrays(files / "best.yml", ArraySearch(members(files), files / "y.npy", F2, options=LOGIT))
    nested = numbers["scores"]["nested"]
    assert json.loads(report_json(numbers)) == json.loads(json.dumps(numbers))
    page = report_html(numbers)
    assert page.count("<svg") == 4 and "http-equiv" not in page and "<script" not in page
    assert f"{nested:.5f}" in page and f"nested {nested:.4f}" in "\n".join(report_lines(numbers))
    assert page == report_html(numbers)


def test_the_report_says_by_which_rule_the_blend_was_chosen(files):
    _, numbers = search_arrays(files / "best.yml", ArraySearch(members(files), files / "y.npy", F2, options=LOGIT))
    rule = "beats them in held-out score by more than one standard error of the paired difference"
    left = f"Equal weights are left only for a fit that {rule}; this one does, with 0.60000 against 0.50000."
    numbers["scores"] |= {"nested": 0.58, "uniform": 0.5, "nested_per_fold": [0.58, 0.57, 0.59]}
    alike = {"nested": 0.5, "nested_per_fold": [0.5, 0.49, 0.51]}
    nothing = ("Repeated without the scored fold the choice gains nothing, 0.50000 against 0.50000: expect no more of "
               "it than of equal weights.")
    two = "Of two folds none is left to repeat the choice on, so the nested score is that of equal weights."
    for solver, changed, expected in (("uniform", {}, f"Equal weights stand: no fit {rule}."), ("logit", {}, left),
                                      ("logit", alike, f"{left} {nothing}"),
                                      ("logit", {"nested_per_fold": [0.5, 0.5]}, f"{left} {two}")):
        numbers["candidates"] = [{"solver": "uniform", "share": 0.0, "score": 0.5, "chosen": solver == "uniform"},
                                 {"solver": "logit", "share": 1.0, "score": 0.6, "chosen": solver == "logit"}]
        said = {**numbers, "scores": numbers["scores"] | changed}
        assert expected in report_html(said) and f"  {expected}" in report_lines(said)
    alone = {**numbers, "members": numbers["members"][:1]}
    assert "  There is one member, and nothing to weigh." in report_lines(alone)
    numbers["candidates"] = []
    assert rule not in report_html(numbers) + " ".join(report_lines(numbers))


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet", "h5"])
def test_tables_with_ids_are_put_into_the_order_of_the_labels(files, ending):
    ids = [f"item{k}" for k in range(N)]
    pd.DataFrame(LABELS.astype(int), index=pd.Index(ids, name="id")).reset_index().to_csv(files / "y.csv", index=False)
    shuffled = RNG.permutation(N)
    paths = []
    for k, probs in enumerate(PROBS):
        paths.append(files / f"other{'abc'[k]}.{ending}")
        frame = pd.DataFrame(probs[shuffled], columns=[f"c{k}" for k in range(5)])
        if ending == "csv":
            frame.insert(0, "id", np.array(ids)[shuffled])
            frame.to_csv(paths[-1], index=False)
        elif ending == "parquet":
            pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
            frame.insert(0, "id", np.array(ids)[shuffled])
            frame.to_parquet(paths[-1])
        elif ending == "h5":  # the ids as the index, as iMet's solutions keep them
            pytest.importorskip("tables", reason="HDF5 needs tables")
            frame.index = pd.Index(np.array(ids)[shuffled], name="id")
            frame.to_hdf(paths[-1], key="probs")
        else:
            np.savez(paths[-1], probs)
    read = read_arrays(paths, files / "y.csv", F2)
    assert read.cells.dense(read.cells.values[1]) == pytest.approx(PROBS[1], abs=1e-6)


def test_plain_hdf5_holds_one_array(tmp_path):
    tables = pytest.importorskip("tables", reason="HDF5 needs tables")
    for name, arrays in (("one", ["/probs"]), ("two", ["/probs", "/more"]), ("none", [])):
        with tables.open_file(str(tmp_path / f"{name}.hdf5"), "w") as file:
            for array in arrays:
                file.create_carray("/", array[1:], obj=PROBS[0].astype(np.float32))
    assert read_raw(tmp_path / "one.hdf5").array == pytest.approx(PROBS[0], abs=1e-6)
    with pytest.raises(DataError, match="one array of 1 or 2 dimensions; it holds /more, /probs"):
        read_raw(tmp_path / "two.hdf5")
    with pytest.raises(DataError, match="it holds none"):
        read_raw(tmp_path / "none.hdf5")


def test_one_folds_file_finds_the_others(files):
    folds = np.arange(N) % 3
    np.save(files / "folds.npy", folds)
    for name, probs in zip("abc", PROBS, strict=True):
        for fold in range(3):
            np.save(files / f"oof_{name}.f{fold}.npy", probs[folds == fold])
    assert [fold for fold, _ in fold_siblings(files / "oof_a.f1.npy")] == [0, 1, 2]
    given = [files / f"oof_{name}.f0.npy" for name in "abc"]
    read = read_arrays(given, files / "y.npy", F2, folds=files / "folds.npy")
    assert read.cells.dense(read.cells.values[2]) == pytest.approx(PROBS[2], abs=1e-6)
    assert (read.folds == folds).all()
    with pytest.raises(DataError, match="one of 3 folds; say with --folds which row"):
        read_arrays(given, files / "y.npy", F2)
    (files / "oof_a.f2.npy").unlink()
    with pytest.raises(DataError, match=r"no file for fold 2 beside it; found folds \[0, 1\]"):
        read_arrays(given, files / "y.npy", F2, folds=files / "folds.npy")


def test_what_is_wrong_with_the_inputs_is_named(files):
    broken = PROBS[0].copy()
    broken[7, 2] = np.nan
    np.save(files / "nan.npy", broken)
    with pytest.raises(DataError, match="nan.npy: NaN or infinity, first in row 7"):
        read_arrays([files / "nan.npy"], files / "y.npy", F2)
    np.save(files / "short.npy", PROBS[0][:50])
    with pytest.raises(DataError, match="short.npy: 50 rows, the labels have 150"):
        read_arrays([files / "short.npy"], files / "y.npy", F2)
    np.save(files / "narrow.npy", PROBS[0][:, :4])
    with pytest.raises(DataError, match=r"narrow: shape \(150, 4\), but modela has \(150, 5\)"):
        read_arrays([files / "modela.npy", files / "narrow.npy"], files / "y.npy", F2)
    with pytest.raises(DataError, match="named twice"):
        read_arrays([files / "modela.npy"] * 2, files / "y.npy", F2)
    with pytest.raises(DataError, match="there is no such file"):
        read_raw(files / "nowhere.npy")
    with pytest.raises(DataError, match="cannot read a .txt"):
        read_raw(files / "a.txt")
    np.save(files / "groups.npy", np.arange(N) // 2)
    np.save(files / "folds.npy", np.arange(N) % 5)
    with pytest.raises(DataError, match="group '0' lies in several folds"):
        read_arrays(members(files), files / "y.npy", F2, files / "groups.npy", files / "folds.npy")


def test_copies_perfect_scores_and_logits_are_noticed(files):
    np.save(files / "copy.npy", PROBS[0])
    np.save(files / "leak.npy", LABELS.astype(float))
    np.save(files / "logits.npy", np.log(PROBS[2] / (1 - PROBS[2])))
    paths = [files / f"{name}.npy" for name in ("modela", "copy", "leak", "logits")]
    notes = search_arrays(files / "best.yml", ArraySearch(paths, files / "y.npy", F2, options=LOGIT))[1]["notes"]
    assert any("modela and copy are nearly the same" in note for note in notes)
    assert any("leak: f2 is exactly 1" in note for note in notes)
    assert any(note.startswith("logits: numbers from -") and note.endswith("are taken as logits") for note in notes)


def test_groups_stay_in_one_fold():
    groups = np.repeat(np.arange(30), 5)
    folds = make_folds(150, groups)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in range(30))
    assert len(np.unique(folds)) == 5


def test_a_metric_of_ten_lines_runs_through_the_whole_search(files):
    (files / "half_f1.py").write_text(
        "import numpy as np\n\ngreater_is_better = True\n\ndef metric(y, p, groups):\n"
        "    decided = p >= 0.5\n    return float((y & decided).sum() / max(1, (y | decided).sum()))\n"
    )
    metric = find_metric(str(files / "half_f1.py"))
    spec, numbers = search_arrays(files / "best.yml", ArraySearch(members(files), files / "y.npy", metric))
    assert spec.metric.name == "half_f1"
    assert numbers["scores"]["in_sample"] >= numbers["scores"]["best_single_in_sample"]


def test_a_metric_file_that_does_not_fit_is_named(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(FoldpackError, match="empty.py defines no 'metric': it defines nothing"):
        find_metric(str(tmp_path / "empty.py"))
    (tmp_path / "five.py").write_text("def metric(a, b, c, d, e): return 0")
    with pytest.raises(FoldpackError, match="metric takes 5 arguments"):
        find_metric(str(tmp_path / "five.py"))
    (tmp_path / "needs.py").write_text("needs = 'labels'\ndef metric(y, p): return 0")
    with pytest.raises(FoldpackError, match="needs = 'labels'; allowed are probs, grades, values"):
        find_metric(str(tmp_path / "needs.py"))
    with pytest.raises(FoldpackError, match="there is no file .*none.py in "):
        find_metric(str(tmp_path / "none.py"))


def test_values_and_grades_and_classes_are_searched_and_applied(tmp_path):
    truth = RNG.normal(size=N)
    grades = np.clip(np.round(truth + 2), 0, 4)
    classes = RNG.integers(0, 3, N)
    scores = [RNG.normal(size=(N, 3)) + 1.5 * np.eye(3)[classes] for _ in range(2)]
    for name, y, predictions in (
        ("rmse", truth, [truth + RNG.normal(0, 1, N) for _ in range(2)]),
        ("qwk", grades, [truth + RNG.normal(0, 0.5, N) for _ in range(2)]),
        ("accuracy", classes, scores),
        ("auc", classes == 1, [s[:, 1] for s in scores]),
    ):
        np.save(tmp_path / "y.npy", y)
        paths = []
        for k, one in enumerate(predictions):
            paths.append(tmp_path / f"{name}_{'ab'[k]}.npy")
            np.save(paths[-1], one)
        metric = get_metric(name)
        spec, _ = search_arrays(tmp_path / "e.yml", ArraySearch(paths, tmp_path / "y.npy", metric))
        write_spec(tmp_path / "e.yml", spec)
        used = [tmp_path / f"{member.name}.npy" for member in spec.last.files.members]
        decided = tmp_path / "decided.npy" if name == "qwk" else None
        blend_files(tmp_path / "e.yml", used, tmp_path / "out.npy", decided)
        answer = np.load(decided or tmp_path / "out.npy")
        assert metric(y.astype(int) if name == "qwk" else y, answer) == pytest.approx(spec.metric.oof, abs=2e-6)
        with pytest.raises(DataError, match="inputs for the"):
            blend_files(tmp_path / "e.yml", used * 2, tmp_path / "out.npy")


def test_level_two_of_files_is_written_applied_and_refused_when_changed(tmp_path):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 8, 900)
    truth, paths = y[:, None] == np.arange(8), []
    for name, half in (("low", np.arange(8) < 4), ("high", np.arange(8) >= 4)):  # each knows half of the classes
        scores = rng.normal(0, 1, truth.shape) + np.where(half, 2.5, 0.5) * truth
        scores[:, ~half] *= 1.5
        paths.append(tmp_path / f"{name}.npy")
        np.save(paths[-1], np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    np.save(tmp_path / "y.npy", y)
    fast = Level2Options(settings={"lightgbm": {"num_leaves": 7, "learning_rate": 0.2}, "xgboost": {"eta": 0.3}})
    asked = ArraySearch(paths, tmp_path / "y.npy", get_metric("accuracy"), level2=fast)
    spec, numbers = search_arrays(tmp_path / "best.yml", asked)
    assert numbers["level2"]["believed"] and spec.last.level2[0].nested > numbers["scores"]["nested"]
    assert "it is used" in report_lines(numbers)[-1] and "What level 2 looks at" in report_html(numbers)
    write_spec(tmp_path / "best.yml", spec)
    used = [tmp_path / f"{member.name}.npy" for member in spec.last.files.members]
    blend_files(tmp_path / "best.yml", used, tmp_path / "out.npy")
    assert np.mean(np.load(tmp_path / "out.npy").argmax(axis=1) == y) > numbers["scores"]["in_sample"]
    (tmp_path / "best" / spec.last.level2[0].boosters[0].file).write_text("other")
    with pytest.raises(DataError, match="missing or changed since the search"):
        blend_files(tmp_path / "best.yml", used, tmp_path / "out.npy")
