"""Logits, folds' files, several arrays in a file, folds and groups, and `foldpack blend` with its CSV."""

import numpy as np
import pandas as pd
import pytest
from brought_files import IDS, NAMES, Commands, N, Y, frame_of, softmax_member, write_csv
from scipy.special import expit, logit, softmax
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from foldpack.errors import DataError

A, B = softmax_member(1), softmax_member(2)
ALONE = [round(log_loss(Y, A), 4), round(log_loss(Y, B), 4)]
BINARY = (Y == 1).astype(int)
FOLDS = np.random.default_rng(8).permutation(np.arange(N) % 3)
MANY = np.random.default_rng(3).random((N, 3)) < 0.4
MANY[:, 0] |= ~MANY.any(axis=1)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    commands = Commands(tmp_path, monkeypatch, capsys)
    np.save("y.npy", Y)
    np.save("b.npy", BINARY)
    pd.DataFrame({"id": IDS, "label": Y}).to_csv("y.csv", index=False)
    return commands


# ---- logits ----


def many_logits(seed):
    return np.where(MANY, 1.5, -1.5) + np.random.default_rng(seed).normal(0, 1.2, MANY.shape)


@pytest.mark.parametrize("rows", [2, 3])
def test_what_the_search_took_as_logits_stays_logits(run, rows):
    np.save("Y.npy", MANY)
    np.save("a.npy", many_logits(1))
    np.save("c.npy", many_logits(2))
    run.search("a.npy", "c.npy", labels="Y.npy", metric="f1")
    assert [one["scores"] for one in run.yaml()["members"]] == ["logit", "logit"]
    assert "a: numbers from " in run.said and "are taken as logits" in run.said
    later = np.array([[0.9, 0.6, 0.55], [0.2, 0.7, 0.3], [-3, -3, 3]])[:rows]
    np.save("t.npy", later)
    np.save("u.npy", later)
    assert run.blend("t.npy", "u.npy") == pytest.approx(expit(later), abs=1e-6)
    assert ("t.npy: all numbers lie in 0..1, and are taken as logits, as in ensembles/e.yml" in run.said) == (rows == 2)


def test_what_cannot_be_what_the_search_took_it_for_is_refused(run):
    np.save("a.npy", A)
    run.search("a.npy", labels="y.npy")
    assert run.yaml()["members"][0]["scores"] == "probability"
    np.save("t.npy", np.log(A))
    with pytest.raises(DataError, match="t.npy: numbers from -.* but ensembles/e.yml was found on probabilities of"):
        run.blend("t.npy")
    np.save("a.npy", np.log(A))
    run.search("a.npy", labels="y.npy")
    np.save("t.npy", A)
    with pytest.raises(DataError, match="t.npy: the numbers of every item sum to 1, so they are probabilities, but"):
        run.blend("t.npy")


def test_percent_are_no_logits(run):
    np.save("a.npy", 100 * A)
    with pytest.raises(DataError, match="a: the numbers of every item sum to 100, so they are no logits; divide"):
        run.search("a.npy", labels="y.npy")


def test_probabilities_may_miss_their_bounds_by_rounding(run):
    np.save("a.npy", np.where(BINARY == 1, 1 + 1e-6, -1e-9) * 0.5 + 0.5 * expit(3 * BINARY - 1.5))
    np.save("a.npy", np.where(np.arange(N) == 3, 1 + 1e-6, np.load("a.npy")))
    run.search("a.npy", labels="b.npy", metric="auc")
    assert run.yaml()["members"][0]["scores"] == "probability" and "are clipped to 0..1" in run.said


LARGE = {
    "20 to 40": np.random.default_rng(1).uniform(20, 40, N) + 3 * BINARY,
    "-40 to 40": np.random.default_rng(2).uniform(-40, 40, N) + 15 * BINARY,
    "1000": 1000 + np.random.default_rng(3).normal(0, 30, N) + 15 * BINARY,
    "small": np.random.default_rng(4).normal(0, 2, N) + 2 * BINARY,
}


@pytest.mark.parametrize("kind", sorted(LARGE))
@pytest.mark.parametrize(("metric", "peer"), [("auc", roc_auc_score), ("average_precision", average_precision_score)])
def test_large_logits_keep_their_order(run, kind, metric, peer):
    numbers = LARGE[kind]
    np.save("a.npy", numbers)
    np.save("c.npy", numbers[:, None].astype(np.float32))
    first, second = (one["alone"] for one in run.search("a.npy", "c.npy", labels="b.npy", metric=metric)["members"])
    assert first == pytest.approx(peer(BINARY, numbers), abs=1e-9)
    assert second == pytest.approx(peer(BINARY, numbers.astype(np.float32)), abs=1e-9)
    assert ("so that float32 keeps their order" in run.said) == (kind != "small")
    members = run.yaml()["members"]
    blended = run.blend(*[f"{one['name']}.npy" for one in members])
    assert peer(BINARY, blended) == pytest.approx(first, abs=1e-9)
    assert run.yaml()["metric"]["oof"] == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_a_blend_of_large_logits_keeps_its_order(run, space):
    rng = np.random.default_rng(7)
    for name, shift in (("a", 8), ("c", 25)):
        np.save(f"{name}.npy", rng.normal(shift, 3, N) + 6 * BINARY)
    numbers = run.search("a.npy", "c.npy", labels="b.npy", metric="auc", options=["--spaces", space])
    blended = run.blend(*[f"{one['name']}.npy" for one in run.yaml()["members"]])
    assert len(np.unique(blended)) == N
    assert roc_auc_score(BINARY, blended) == pytest.approx(numbers["scores"]["in_sample"], abs=1e-9)


def test_large_logits_of_classes_and_of_labels_keep_their_order_too(run):
    rng = np.random.default_rng(9)
    classes = rng.normal(0, 4, (N, 3)) + 30 * (rng.random((N, 1)) + np.eye(3)[Y])
    np.save("a.npy", classes)
    odds = np.stack([logit_of(classes, k) for k in range(3)], axis=1)
    expected = np.mean([roc_auc_score(Y == k, odds[:, k]) for k in range(3)])
    assert run.search("a.npy", labels="y.npy", metric="auc")["members"][0]["alone"] == pytest.approx(expected, abs=1e-9)
    np.save("Y.npy", MANY)
    np.save("c.npy", many_logits(4) * 20)
    expected = roc_auc_score(MANY, many_logits(4))
    assert run.search("c.npy", labels="Y.npy", metric="auc")["members"][0]["alone"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("columns", [1, 2])
def test_a_blend_of_clear_logits_keeps_its_order(run, columns):
    """The fitted scale grows where the classes are nearly apart; float32 sigmoids would tie half of the rows."""
    truth = np.random.default_rng(0).integers(0, 2, 400)
    np.save("b.npy", truth)
    for name, spread in (("a", 1.0), ("c", 1.3)):
        logits = 3 * (2 * truth - 1) + np.random.default_rng(1 + ord(name)).normal(0, spread, 400)
        np.save(f"{name}.npy", logits if columns == 1 else np.column_stack([0 * logits, logits]))
    run.search("a.npy", "c.npy", labels="b.npy", metric="auc", options=["--spaces", "logit"])
    members = run.yaml()["members"]
    blended = run.blend(*[f"{one['name']}.npy" for one in members])
    if columns == 2:
        blended = blended[:, 1]
    mean = sum(one["weight"] * np.load(f"{one['name']}.npy").reshape(400, -1)[:, -1] for one in members)
    assert roc_auc_score(truth, blended) == pytest.approx(roc_auc_score(truth, mean), abs=1e-9)
    assert len(np.unique(blended)) > 395


def logit_of(logits, column):
    """The log-odds of one class against the others, exactly."""
    others = np.delete(logits, column, axis=1)
    return logits[:, column] - np.log(np.exp(others).sum(axis=1))


def test_probabilities_of_float64_near_one_keep_their_order(run):
    numbers = expit(np.random.default_rng(1).uniform(17, 30, N) + 2 * BINARY)
    np.save("a.npy", numbers)
    found = run.search("a.npy", labels="b.npy", metric="auc")["members"][0]["alone"]
    assert found == pytest.approx(roc_auc_score(BINARY, logit(numbers)), abs=1e-9)


def test_a_log_loss_sees_the_probabilities_as_they_are(run):
    np.save("a.npy", LARGE["-40 to 40"])
    run.search("a.npy", labels="b.npy")
    assert "temperature" not in run.yaml()["members"][0] or run.yaml()["members"][0]["temperature"] == 1


# ---- several arrays, several files ----


def test_one_array_of_several_is_named(run):
    np.savez("p.npz", a=A, b=B)
    np.savez("y.npz", y=Y, folds=FOLDS, groups=np.arange(N) // 2)
    np.savez("one.npz", A)
    with pytest.raises(DataError, match=r"p.npz: it holds 2 arrays: a, b; say which: p.npz:a"):
        run.search("p.npz", labels="y.npz:y")
    with pytest.raises(DataError, match=r"y.npz: it holds 3 arrays: y, folds, groups; say which: y.npz:y"):
        run.search("p.npz:a", labels="y.npz")
    with pytest.raises(DataError, match="p.npz:c: there is no array 'c': "):
        run.search("p.npz:c", labels="y.npz:y")
    found = run.alone("p.npz:a", "p.npz:b", "one.npz", labels="y.npz:y", options=["--folds", "y.npz:folds"])
    assert found == [*ALONE, ALONE[0]]
    found = run.alone("p.npz:a", "p.npz:b", labels="y.npz:y", options=["--groups", "y.npz:groups"])
    assert found == ALONE and [one["name"] for one in run.yaml()["members"]] == ["p:a", "p:b"]
    weights = [one["weight"] for one in run.yaml()["members"]]
    assert run.blend("p.npz:a", "p.npz:b") == pytest.approx(weights[0] * A + weights[1] * B, abs=1e-6)


def test_one_table_of_an_hdf5_file_is_named(run):
    pytest.importorskip("tables", reason="HDF5 needs tables")
    for key, values in (("a", A), ("b", B)):
        frame_of(values).set_index(pd.Index(IDS, name="id")).to_hdf("p.h5", key=key)
    with pytest.raises(DataError, match="p.h5: .* it holds /a, /b; say which: p.h5:a"):
        run.search("p.h5")
    assert run.alone("p.h5:a", "p.h5:/b") == ALONE


def fold_files(pattern, values, ids=None, ending="npy"):
    for fold in range(3):
        name = pattern.format(fold) + "." + ending
        if ending == "npy":
            np.save(name, values[fold == FOLDS])
        else:
            write_csv(name, values[fold == FOLDS], ids=list(np.array(ids)[fold == FOLDS]))


@pytest.mark.parametrize("pattern", ["m_seed{}", "m_seed_{}", "run{}", "run_{}", "v{}", "m.v{}", "m_s{}", "model_{}"])
def test_seeds_are_no_folds(run, pattern):
    """Of as many rows as a fold: three seeds on one holdout."""
    np.save("folds.npy", np.sort(FOLDS))
    for k in range(3):
        np.save(pattern.format(k) + ".npy", softmax_member(k)[:30])
    with pytest.raises(DataError, match="30 rows, the labels have 90; and no files of other folds lie beside it"):
        run.search(pattern.format(0) + ".npy", labels="y.npy", options=["--folds", "folds.npy"])
    for k in range(3):
        np.save(pattern.format(k) + ".npy", softmax_member(k))
    files = [pattern.format(k) + ".npy" for k in range(3)]
    assert len(run.alone(*files, labels="y.npy", options=["--folds", "folds.npy"])) == 3


@pytest.mark.parametrize("pattern", ["m_fold{}", "m.f{}", "fold-{}", "m_kfold_{}", "seed42_fold{}",
                                     "fold{}_seed1", "oof_{}"])
def test_folds_are_joined(run, pattern):
    np.save("folds.npy", FOLDS)
    fold_files(pattern, A)
    file = pattern.format(0) + ".npy"
    assert run.alone(file, labels="y.npy", options=["--folds", "folds.npy"]) == ALONE[:1]
    assert f"{file}: joined as --folds says with the files of folds 0, 1, 2" in run.said
    with pytest.raises(DataError, match="30 of 90 rows, one of 3 folds; say with --folds which row belongs to which"):
        run.search(file, labels="y.npy")
    with pytest.raises(DataError, match="are folds of one member; name one of them"):
        run.search(file, pattern.format(1) + ".npy", labels="y.npy", options=["--folds", "folds.npy"])
    np.save("folds.npy", np.arange(N) // 45)
    with pytest.raises(DataError, match="30 rows, fold 0 has 45 rows"):
        run.search(file, labels="y.npy", options=["--folds", "folds.npy"])


def test_folds_with_ids_are_joined_by_them(run):
    fold_files("m_fold{}", A, IDS, "csv")
    assert run.alone("m_fold1.csv") == ALONE[:1]
    assert "m_fold1.csv: joined by id with the files of folds 0, 1, 2" in run.said
    pd.DataFrame({"id": IDS, "fold": np.roll(FOLDS, 1)}).to_csv("folds.csv", index=False)
    assert run.alone("m_fold1.csv", options=["--folds", "folds.csv"]) == ALONE[:1]
    write_csv("m_fold1.csv", A[:30], ids=IDS[:30])
    with pytest.raises(DataError, match="m_fold0.csv: id 'img_.*' occurs twice|m_fold1.csv: "):
        run.search("m_fold1.csv")


# ---- folds and groups ----


@pytest.mark.parametrize(("kind", "column"), [("folds", "fold"), ("folds", "kfold"), ("groups", "group"),
                                              ("groups", "patient_id")])
@pytest.mark.parametrize("id_name", ["id", "image", "what"])
def test_folds_and_groups_go_by_id(run, kind, column, id_name):
    np.save("a.npy", A)
    values = FOLDS if kind == "folds" else np.arange(N) // 9
    frame = pd.DataFrame({id_name: IDS, "labels": Y, column: values})
    frame.to_csv("f.csv", index=False)
    expected = run.search("a.npy", options=[f"--{kind}", "f.csv"])["scores"]
    frame.iloc[::-1].to_csv("f.csv", index=False)
    assert run.search("a.npy", options=[f"--{kind}", "f.csv"])["scores"] == expected
    frame.iloc[:-1].to_csv("f.csv", index=False)
    with pytest.raises(DataError, match="f.csv: 1 of 90 ids of y.csv are missing, for example 'img_89'"):
        run.search("a.npy", options=[f"--{kind}", "f.csv"])
    np.save("f.npy", values)
    assert run.search("a.npy", options=[f"--{kind}", "f.npy"])["scores"] == expected
    assert "f.npy: no ids: its rows are matched by position" in run.said


# ---- blend ----


def test_a_blend_is_written_like_a_submission(run):
    labels = np.array(NAMES)[Y]
    pd.DataFrame({"ImageId": IDS, "species": labels}).to_csv("y.csv", index=False)
    write_csv("a.csv", A, ids=IDS, id_name="ImageId")
    write_csv("c.csv", B, ids=IDS, id_name="ImageId")
    run.search("a.csv", "c.csv", metric="accuracy")
    weights = [one["weight"] for one in run.yaml()["members"]]
    order = np.random.default_rng(1).permutation(N)
    ids = [f"{k:05}" for k in range(N)]
    write_csv("ta.csv", A, ids=ids, id_name="ImageId")
    write_csv("tc.csv", B[order][:, [2, 0, 1]], ["owl", "cat", "dog"], np.array(ids)[order].tolist(), id_name="ImageId")
    run.blend("ta.csv", "tc.csv", out="out.csv", options=["--decided", "d.csv"])
    out, decided = pd.read_csv("out.csv", dtype={"ImageId": str}), pd.read_csv("d.csv", dtype=str)
    blended = weights[0] * A + weights[1] * B
    assert list(out) == ["ImageId", *NAMES] and out["ImageId"].tolist() == ids
    assert out[NAMES].to_numpy() == pytest.approx(blended, abs=1e-5)
    assert list(decided) == ["ImageId", "species"] and decided["ImageId"].tolist() == ids
    assert decided["species"].tolist() == np.array(NAMES)[blended.argmax(axis=1)].tolist()
    assert run.blend("ta.csv", "tc.csv", out="out.npy") == pytest.approx(blended, abs=1e-5)


def test_ranked_classes_are_written_like_a_submission(run):
    write_csv("a.csv", A, ["new whale", "w_1", "w_2"], IDS)
    run.search("a.csv", metric="map3")
    run.blend("a.csv", options=["--decided", "d.csv"])
    names, order = np.array(["new whale", "w_1", "w_2"]), np.argsort(-A, axis=1)
    assert pd.read_csv("d.csv")["label"].tolist() == ["|".join(names[row]) for row in order]


def test_labels_and_one_column_are_written_like_a_submission(run):
    write_csv("Y.csv", MANY.astype(int), NAMES, IDS)
    write_csv("a.csv", expit(many_logits(1)), ids=IDS)
    run.search("a.csv", labels="Y.csv", metric="f1")
    run.blend("a.csv", options=["--decided", "d.csv"])
    decided = pd.read_csv("d.csv")
    assert list(decided) == ["id", "label"]
    assert set(" ".join(decided["label"]).split()) == set(NAMES)
    pd.DataFrame({"id": IDS, "target": BINARY}).to_csv("y.csv", index=False)
    pd.DataFrame({"id": IDS, "p": expit(LARGE["small"]), "fold": FOLDS}).to_csv("a.csv", index=False)
    run.search("a.csv", metric="auc")
    pd.DataFrame({"id": ["x", "y"], "more": [5.0, 6.5], "p": [0.25, 0.5]}).to_csv("t.csv", index=False)
    assert run.blend("t.csv", out="out.csv").to_dict("list") == {"id": ["x", "y"], "target": [0.25, 0.5]}


@pytest.mark.parametrize(("options", "out"), [([], "out.txt"), ([], "out"), (["--decided", "d.parquet"], "out.npy")])
def test_other_endings_are_refused_before_anything_is_written(run, options, out):
    np.save("a.npy", A)
    run.search("a.npy", labels="y.npy")
    with pytest.raises(DataError, match="cannot write .*; give .npy for NumPy or .csv for a table with ids and names"):
        run.blend("a.npy", out=out, options=options)
    assert not (run.folder / "out.npy").exists()


def test_inputs_of_a_blend_that_do_not_fit_are_refused(run):
    write_csv("a.csv", A, ids=IDS)
    write_csv("c.csv", B, ids=IDS)
    run.search("a.csv", "c.csv")
    with pytest.raises(DataError, match="c.csv: called like member 'a'|c.csv: called like member 'c', but it is given"):
        run.blend("c.csv", "a.csv")
    write_csv("c_test.csv", B[:-1], ids=IDS[:-1])
    with pytest.raises(DataError, match="c_test.csv: 89 rows, but a.csv has 90"):
        run.blend("a.csv", "c_test.csv")
    write_csv("c_test.csv", B, ids=[*IDS[:-1], "other"])
    with pytest.raises(DataError, match="c_test.csv: 1 of 90 ids of a.csv are missing, for example 'img_89'"):
        run.blend("a.csv", "c_test.csv")
    write_csv("c_test.csv", B, ["cat", "dog", "emu"], IDS)
    with pytest.raises(DataError, match="c_test.csv: the columns are not the classes of ensembles/e.yml: missing"):
        run.blend("a.csv", "c_test.csv")
    np.save("c_test.npy", B[:, :2])
    with pytest.raises(DataError, match=r"c_test.npy: shape \(90, 2\), but ensembles/e.yml has 3 classes"):
        run.blend("a.csv", "c_test.npy")
    with pytest.raises(DataError, match="a file of predictions is named twice"):
        run.blend("a.csv", "a.csv")
    np.save("c_test.npy", B)
    run.blend("a.csv", "c_test.npy", out="out.csv")
    assert "no ids in c_test.npy: rows are matched by position to a.csv" in run.said


def test_an_older_yaml_without_names_still_goes_by_name(run):
    write_csv("a.csv", A, ids=IDS)
    write_csv("c.csv", B, ids=IDS)
    run.search("a.csv", "c.csv")
    path = run.folder / "ensembles" / "e.yml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.strip().startswith(("classes:", "scores:"))))
    expected = run.blend("a.csv", "c.csv")
    write_csv("c_test.csv", B[:, [1, 2, 0]], ["dog", "owl", "cat"], IDS)
    assert run.blend("a.csv", "c_test.csv") == pytest.approx(expected, abs=1e-7)


def test_two_rows_of_hard_labels_are_predictions(run):
    """Few rows must not look like counters or ids."""
    np.save("a.npy", softmax(np.eye(3)[Y], axis=1))
    run.search("a.npy", labels="y.npy")
    write_csv("t.csv", np.eye(3)[:2].astype(int), ["0", "1", "2"], ["x", "y"])
    assert run.blend("t.csv") == pytest.approx(np.eye(3)[:2])


def test_rows_numbered_by_pandas_are_matched_by_number(run):
    np.save("a.npy", A)
    np.save("c.npy", B)
    run.search("a.npy", "c.npy", labels="y.npy")
    expected = run.blend("a.npy", "c.npy")
    frame_of(A).to_csv("t.csv")
    frame_of(B).iloc[::-1].to_csv("u.csv")
    blended = run.blend("t.csv", "u.csv", out="out.csv")
    assert list(blended) == ["id", "0", "1", "2"] and blended["id"].tolist() == list(range(N))
    assert blended[["0", "1", "2"]].to_numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("probabilities", [True, False])
def test_classes_called_like_targets_are_classes_where_their_numbers_are_no_targets(run, probabilities):
    names = ["label", "fold", "y"]
    np.save("Y.npy", MANY)
    numbers = expit(many_logits(1)) if probabilities else many_logits(1)
    write_csv("a.csv", numbers, names, IDS)
    found = run.search("a.csv", labels="Y.npy", metric="auc")["members"][0]["alone"]
    assert found == pytest.approx(roc_auc_score(MANY, numbers), abs=1e-6)
    assert run.yaml()["outputs"]["names"] == names
