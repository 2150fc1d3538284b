"""Predictions that people bring: rows by id, columns by name, labels of every kind; or one clear line."""

import numpy as np
import pandas as pd
import pytest
from brought_files import IDS, NAMES, RNG, Commands, N, Y, frame_of, softmax_member, write_csv
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from foldpack.errors import DataError

A, B = softmax_member(1), softmax_member(2)
ALONE = [round(log_loss(Y, A), 4), round(log_loss(Y, B), 4)]
SHUFFLED = RNG.permutation(N)
ZEROS = [f"{k:04}" for k in range(N)]
BINARY = (Y == 1).astype(int)
PRED = [expit(3 * BINARY - 1.5 + np.random.default_rng(k).normal(0, 1.5, N)) for k in (5, 6)]
AUCS = [round(roc_auc_score(BINARY, one), 4) for one in PRED]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    return Commands(tmp_path, monkeypatch, capsys)


def labels(name="y.csv", values=Y, ids=IDS, id_name="id", column="label"):
    pd.DataFrame({id_name: ids, column: values}).to_csv(name, index=False)


# ---- rows by id ----


@pytest.mark.parametrize("id_name", ["id", "image_id", "item_id", "ImageId", "image", "file", "filename", "uuid",
                                     "guid", "StudyInstanceUID", "what", "Unnamed: 0"])
def test_rows_go_by_id_whatever_its_column_is_called(run, id_name):
    labels(id_name=id_name)
    write_csv("a.csv", A, ids=IDS, id_name=id_name)
    write_csv("b.csv", B[SHUFFLED], ids=np.array(IDS)[SHUFFLED].tolist(), id_name=id_name)
    assert run.alone("a.csv", "b.csv") == ALONE
    assert "position" not in run.said


@pytest.mark.parametrize("ids", [list(range(N)), list(range(1000, 1000 + N)), ZEROS, [f"{k}e{k}" for k in range(N)],
                                 ["NA", "null", "None", *IDS[3:]]])
@pytest.mark.parametrize("names", [("id", "image"), ("number", "number"), ("id", "Unnamed: 0")])
def test_ids_may_be_numbers_and_keep_their_zeros(run, ids, names):
    labels(ids=ids, id_name=names[0])
    write_csv("a.csv", A[SHUFFLED], ids=np.array(ids)[SHUFFLED].tolist(), id_name=names[1])
    write_csv("b.csv", B, ids=ids, id_name=names[1])
    assert run.alone("a.csv", "b.csv") == ALONE


def test_an_index_of_pandas_is_the_ids(run):
    frame_of(A).set_index(pd.Index(IDS)).iloc[SHUFFLED].to_csv("a.csv")  # the first name is empty
    frame_of(B).set_index(pd.Index(IDS, name="image")).iloc[SHUFFLED].to_parquet("b.parquet")
    labels()
    assert run.alone("a.csv", "b.parquet") == ALONE


def test_a_frame_of_rows_in_another_order_is_not_taken_by_position(run):
    np.save("y.npy", Y)
    frame_of(A).iloc[SHUFFLED].to_csv("a.csv")
    with pytest.raises(DataError, match="a.csv: column 'Unnamed: 0' counts the rows in another order .the first is "):
        run.search("a.csv", labels="y.npy")
    pd.DataFrame({"label": Y}).to_csv("y.csv")
    assert run.alone("a.csv") == ALONE[:1]


def drop_one(frame):
    return frame.drop(index=4)


def add_one(frame):
    return pd.concat([frame, frame.tail(1).assign(id="more")])


def double_one(frame):
    return pd.concat([frame.drop(index=4), frame.tail(1)])


def lose_zeros(frame):
    return frame.assign(id=[one.replace("img_", "").lstrip("0") or "0" for one in frame["id"]])


@pytest.mark.parametrize(("change", "message"), [
    (drop_one, "a.csv: 1 of 90 ids of the labels are missing, for example 'img_4'"),
    (add_one, "a.csv: 1 ids are not in the labels, for example 'more'"),
    (double_one, "a.csv: id 'img_89' occurs twice"),
    (lambda frame: frame.assign(id=frame["id"].replace("img_4", "img_x")),
     "a.csv: 1 of 90 ids of y.csv are missing, for example 'img_4'"),
])
def test_ids_that_differ_are_refused_with_an_example(run, change, message):
    labels()
    change(frame_of(A, ids=IDS)).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match=message):
        run.search("a.csv")


def test_lost_zeros_are_told(run):
    labels(ids=ZEROS)
    frame_of(A, ids=list(range(N))).to_parquet("a.parquet")
    with pytest.raises(DataError, match="they seem to have lost their zeros: keep ids as text"):
        run.search("a.parquet")


def test_without_ids_a_note_says_that_rows_went_by_position(run):
    np.save("a.npy", A)
    write_csv("b.csv", B, ids=IDS)
    labels()
    assert run.alone("a.npy", "b.csv") == ALONE
    assert "note: no ids in a.npy: rows are matched by position" in run.said
    assert "note: no column names in a.npy: their classes are matched by position to b.csv" in run.said
    np.save("y.npy", Y)
    run.search("a.npy", labels="y.npy")
    assert "note: no ids in y.npy: rows are matched by position" in run.said
    assert "note: no column names: classes are matched by position" in run.said


def test_members_in_different_orders_need_labels_with_ids(run):
    np.save("y.npy", Y)
    write_csv("a.csv", A, ids=IDS)
    write_csv("b.csv", B[SHUFFLED], ids=np.array(IDS)[SHUFFLED].tolist())
    with pytest.raises(DataError, match="b.csv: its ids are not those of a.csv, or in another order, and the labels"):
        run.search("a.csv", "b.csv", labels="y.npy")


# ---- columns by name ----


@pytest.mark.parametrize("text_labels", [False, True])
def test_columns_go_by_name(run, text_labels):
    labels(values=np.array(NAMES)[Y] if text_labels else Y)
    write_csv("a.csv", A, ids=IDS)
    write_csv("b.csv", B[:, [1, 2, 0]], ["dog", "owl", "cat"], IDS)
    write_csv("c.csv", B, ["pred_cat", "pred_dog", "pred_owl"], IDS)
    assert run.alone("a.csv", "b.csv", "c.csv") == [*ALONE, ALONE[1]]
    assert ("the labels are numbers: 0 is 'cat', 1 is 'dog'" in run.said) != text_labels
    assert "c.csv: column 'pred_cat' is taken as 'cat', and so on" in run.said


def test_numbers_as_labels_do_not_follow_a_permuted_first_file(run):
    labels()
    write_csv("a.csv", A[:, [1, 2, 0]], ["dog", "owl", "cat"], IDS)
    write_csv("b.csv", B, ids=IDS)
    for files in (["a.csv", "b.csv"], ["a.csv"]):
        with pytest.raises(DataError, match="a.csv: the labels are numbers, and fit .* of the classes better than the"):
            run.search(*files)


@pytest.mark.parametrize(("names", "message"), [
    (["cat", "dog", "emu"], "b.csv: the columns are not the classes of a.csv: missing 'owl'; too many 'emu'"),
    (["Cat", "dog", "owl"], "b.csv: the columns are not the classes of a.csv: missing 'cat'; too many 'Cat'"),
])
def test_other_names_are_refused(run, names, message):
    labels()
    write_csv("a.csv", A, ids=IDS)
    write_csv("b.csv", B, names, IDS)
    with pytest.raises(DataError, match=message):
        run.search("a.csv", "b.csv")


def test_columns_called_by_class_numbers_go_by_number(run):
    labels()
    write_csv("a.csv", A[:, [2, 0, 1]], ["2", "0", "1"], IDS)
    np.save("b.npy", B)
    assert run.alone("a.csv", "b.npy") == ALONE
    labels(values=Y + 1)
    write_csv("a.csv", A[:, [2, 0, 1]], ["3", "1", "2"], IDS)
    assert run.alone("a.csv") == ALONE[:1]


def test_a_doubled_name_or_a_missing_header_is_refused(run):
    labels()
    lines = frame_of(A, ids=IDS).to_csv(index=False).split("\n")
    (run.folder / "a.csv").write_text("\n".join(["id,cat,dog,cat", *lines[1:]]))
    with pytest.raises(DataError, match="a.csv: two columns are called 'cat'"):
        run.search("a.csv")
    (run.folder / "a.csv").write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match="a.csv: the first line holds the number .* so it is no header"):
        run.search("a.csv")


# ---- columns that are no classes ----

EXTRAS = {"target": BINARY, "label": BINARY, "y_true": BINARY, "what": BINARY, "fold": np.arange(N) % 5,
          "kfold": np.arange(N) % 5, "cv_fold": np.arange(N) % 5, "Unnamed: 0": np.arange(N), "index": np.arange(N),
          "number": np.arange(1, N + 1), "code": RNG.permutation(N) + 5, "split": ["train"] * N}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
@pytest.mark.parametrize("after", [False, True])
def test_columns_that_are_no_predictions_are_left_out_with_a_note(run, extra, after):
    labels(values=BINARY)
    for name, pred in zip("ab", PRED, strict=True):
        frame = pd.DataFrame({"id": IDS, "pred": pred})
        frame.insert(2 if after else 0, extra, EXTRAS[extra])
        frame.to_csv(f"{name}.csv", index=False)
    assert run.alone("a.csv", "b.csv", metric="auc") == AUCS
    assert f"note: a.csv: no predictions, so left out: '{extra}' (" in run.said


def test_nothing_but_ids_folds_and_labels_is_an_error(run):
    labels(values=BINARY)
    pd.DataFrame({"id": IDS, "fold": np.arange(N) % 5, "target": BINARY}).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match="a.csv: no column of predictions is left; 'fold' .folds., 'target' .the label"):
        run.search("a.csv", metric="auc")


def test_the_only_column_may_be_called_target(run):
    labels(values=BINARY)
    pd.DataFrame({"id": IDS, "target": PRED[0]}).to_csv("a.csv", index=False)
    pd.DataFrame({"id": IDS, "target": (PRED[1] > 0.5).astype(int)}).to_csv("b.csv", index=False)
    assert run.alone("a.csv", "b.csv", metric="auc")[0] == AUCS[0]


def test_a_class_may_be_called_label_where_the_labels_say_so(run):
    names = ["label", "fold", "y"]
    truth = np.random.default_rng(3).random((N, 3)) < 0.4
    truth[:, 0] |= ~truth.any(axis=1)
    hard = truth ^ (np.random.default_rng(4).random((N, 3)) < 0.2)
    write_csv("y.csv", truth.astype(int), names, IDS)
    write_csv("a.csv", hard.astype(int)[:, ::-1], names[::-1], IDS)
    write_csv("b.csv", hard.astype(float), names, IDS)
    first, second = run.alone("a.csv", "b.csv", metric="f1")
    assert first == second > 0.6
    np.save("y.npy", truth)
    with pytest.raises(DataError, match="no column of predictions is left|the labels have 3 columns"):
        run.search("a.csv", labels="y.npy", metric="f1")


def test_the_labels_beside_the_predictions_of_each_class_are_no_classes(run):
    truth = np.eye(3, dtype=int)[Y]
    write_csv("y.csv", truth, NAMES, IDS)
    frame = pd.concat([frame_of(truth, ids=IDS), pd.DataFrame(A, columns=[f"{name}_pred" for name in NAMES])], axis=1)
    frame.to_csv("a.csv", index=False)
    assert run.alone("a.csv") == ALONE[:1]
    assert "'cat' (the labels themselves)" in run.said


def test_a_number_with_text_in_it_is_named(run):
    labels()
    frame = frame_of(A, ids=IDS).astype({"dog": object})
    frame.loc[7, "dog"] = "?"
    frame.to_csv("a.csv", index=False)
    with pytest.raises(DataError, match="a.csv: column 'dog' holds text, first '.' in row 7"):
        run.search("a.csv")


# ---- labels ----


@pytest.mark.parametrize("kind", ["numbers", "floats", "text", "one-hot", "one-hot permuted", "(n, 1)", "text array",
                                  "train.csv"])
@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_labels_of_every_kind(run, kind, metric):
    write_csv("a.csv", A, ids=IDS)
    file = "y.csv"
    if kind in ("numbers", "floats"):
        labels(values=Y.astype(float) if kind == "floats" else Y)
    elif kind == "text":
        labels(values=np.array(NAMES)[Y], column="species")
    elif kind.startswith("one-hot"):
        order = [2, 0, 1] if "permuted" in kind else [0, 1, 2]
        write_csv("y.csv", np.eye(3, dtype=int)[Y][:, order], [NAMES[k] for k in order], IDS)
    elif kind == "train.csv":
        frame = pd.DataFrame({"id": IDS, "width": 7 + Y % 2, "label": np.array(NAMES)[Y], "fold": np.arange(N) % 5})
        frame.to_csv("y.csv")
    else:
        file = "y.npy"
        np.save(file, Y[:, None] if kind == "(n, 1)" else np.array(NAMES)[Y])
    expected = ALONE[0] if metric == "log_loss" else round(float(np.mean(A.argmax(axis=1) == Y)), 4)
    assert run.alone("a.csv", labels=file, metric=metric) == [expected]


@pytest.mark.parametrize(("values", "message"), [
    (Y + 1, "label 3 in row 2 .id 'img_2'. is none of the 3 columns .'cat', 'dog', 'owl'., which are 0 to 2; the "
            "labels are 1 to 3; they seem to count from 1: subtract 1"),
    (np.where(np.arange(N) == 5, -1, Y), "label -1 in row 5 .id 'img_5'. is none of the 3 columns"),
    (np.where(np.arange(N) == 5, 3, Y), "label 3 in row 5 .id 'img_5'. is none of the 3 columns"),
    (np.where(np.arange(N) == 5, np.nan, Y), "no label .NaN or infinity. in row 5 .id 'img_5'."),
    (np.where(np.arange(N) == 5, 0.5, Y), "a class number or a 0/1 label is needed, got 0.5 in row 5 .id 'img_5'."),
    (np.where(np.arange(N) == 5, "emu", np.array(NAMES)[Y]), "label 'emu' in row 5 .id 'img_5'. is none of the column"),
])
def test_a_label_that_is_no_column_is_an_error_with_its_row(run, values, message):
    write_csv("a.csv", A, ids=IDS)
    labels(values=values)
    for metric in ("log_loss", "accuracy", "map5"):
        with pytest.raises(DataError, match=f"y.csv: {message}"):
            run.search("a.csv", metric=metric)


def test_text_labels_without_names_to_look_them_up(run):
    np.save("a.npy", A)
    np.save("y.npy", np.array(NAMES)[Y])
    message = "y.npy: the labels are text, like .*, and the predictions have no column names to look them up"
    with pytest.raises(DataError, match=message):
        run.search("a.npy", labels="y.npy")
    np.save("b.npy", PRED[0])
    with pytest.raises(DataError, match="y.npy: the labels are text, like .* predictions have one column; give 0/1"):
        run.search("b.npy", labels="y.npy", metric="auc")
    np.save("o.npy", np.array(NAMES, dtype=object)[Y], allow_pickle=True)
    with pytest.raises(DataError, match="o.npy: no NumPy file, or one of Python objects, which only pickle reads"):
        run.search("a.npy", labels="o.npy")


def test_labels_that_could_be_two_things_are_refused(run):
    np.save("a.npy", A)
    write_csv("y.csv", np.column_stack([Y, np.eye(3)[Y]]), ["label", *NAMES], IDS)
    with pytest.raises(DataError, match="y.csv: the labels are either 'label' or the 0/1 columns 'cat', 'dog', 'owl'"):
        run.search("a.npy")
    pd.DataFrame({"id": IDS, "height": Y * 2, "species": np.array(NAMES)[Y]}).to_csv("y.csv", index=False)
    with pytest.raises(DataError, match="y.csv: it is not clear which of the columns 'height', 'species' are the"):
        run.search("a.npy")


def test_an_item_of_many_labels_is_no_item_of_one_class(run):
    truth = np.eye(3, dtype=int)[Y]
    truth[4] = 1
    write_csv("y.csv", truth, NAMES, IDS)
    write_csv("a.csv", A, ids=IDS)
    with pytest.raises(DataError, match="'accuracy' needs one class an item; row 4 .id 'img_4'. has 3 labels"):
        run.search("a.csv", metric="accuracy")


# ---- one column, or two ----


def test_a_column_is_a_row_of_numbers(run):
    np.save("y.npy", BINARY[:, None])
    for name, pred in zip("ab", PRED, strict=True):
        np.save(f"{name}.npy", pred[:, None])
    assert run.alone("a.npy", "b.npy", labels="y.npy", metric="auc") == AUCS


def test_two_columns_are_two_classes_or_refused(run):
    labels(values=BINARY)
    for name, pred in zip("ab", PRED, strict=True):
        write_csv(f"{name}.csv", np.column_stack([1 - pred, pred]), ["0", "1"], IDS)
    assert run.alone("a.csv", "b.csv", metric="auc") == AUCS
    np.save("c.npy", PRED[0])
    with pytest.raises(DataError, match=r"c: shape \(90,\), but a has \(90, 2\); .* probability of class 1, give that"):
        run.search("a.csv", "c.npy", metric="auc")
    np.save("d.npy", np.column_stack(PRED))
    with pytest.raises(DataError, match="d: the two numbers of an item sum to .* give the column of class 1 alone"):
        run.search("d.npy", metric="auc")
    labels(values=BINARY + 1)
    with pytest.raises(DataError, match="'auc' needs 0/1 labels for predictions of one column, got 1 to 2, first"):
        run.search("c.npy", metric="auc")


def test_one_column_of_labels_and_fbeta(run):
    """With at least one label an item every item would get it."""
    np.save("y.npy", BINARY)
    np.save("a.npy", PRED[0])
    with pytest.raises(DataError, match="'f1' counts the labels of each item, and there is one column; take f1_macro"):
        run.search("a.npy", labels="y.npy", metric="f1")
    found = run.alone("a.npy", labels="y.npy", metric="f1_macro")[0]
    assert found == round(max(f1_score(BINARY, PRED[0] >= cut) for cut in PRED[0]), 4)


@pytest.mark.parametrize(("extra", "message"), [
    ({"width": np.arange(N) % 7 + 20}, "a.csv: column 'width' holds whole numbers only and 'p' does not"),
    ({"is_valid": np.arange(N) % 2}, "a.csv: column 'is_valid' holds whole numbers only and 'p' does not"),
    ({"q": PRED[1]}, "a: the two numbers of an item sum to .* no probabilities of two classes"),
    ({"q": PRED[1], "r": PRED[1] / 2}, "the labels are 0 and 1, but the predictions have 3 columns, which do not sum"),
])
def test_what_may_be_no_prediction_is_not_blended(run, extra, message):
    labels(values=BINARY)
    pd.DataFrame({"id": IDS, "p": PRED[0], **extra}).to_csv("a.csv", index=False)
    with pytest.raises(DataError, match=message):
        run.search("a.csv", metric="auc")


def junk(path):
    path.write_bytes(b"hello")


@pytest.mark.parametrize(("name", "write", "message"), [
    ("a.npy", junk, "no NumPy file, or one of Python objects"),
    ("a.npz", junk, "no NumPy file, or one of Python objects"),
    ("a.csv", lambda path: path.write_text(""), "cannot read it"),
    ("a.csv", lambda path: path.write_text("id,cat,dog,owl\n"), "it has no rows"),
    ("a.parquet", lambda path: pd.DataFrame({"id": IDS, "p": A.tolist()}).to_parquet(path), "column 'p' holds lists"),
    ("a.pkl", lambda path: path.write_bytes(b"x"), "cannot read a .pkl; give .npy"),
    ("a.npy", lambda path: np.save(path, np.zeros((0, 3))), "it holds no number"),
    ("a.npy", lambda path: np.save(path, np.zeros((2, N, 3))), "give .n,., or .n, C. with a column for each class"),
    ("a.npy", lambda path: np.save(path, A.astype(complex)), "an array of complex128; give numbers"),
    ("a.npy", lambda path: np.save(path, np.array(NAMES)[Y]), "it holds text, like '...'; predictions are numbers"),
])
def test_what_is_no_table_of_numbers_is_one_line(run, name, write, message):
    labels()
    write(run.folder / name)
    with pytest.raises(DataError, match=f"{name}: .*{message}"):
        run.search(name)


def test_real_values_beside_their_target(run):
    truth = np.random.default_rng(0).normal(50, 10, N)
    pd.DataFrame({"id": IDS, "price": truth}).to_csv("y.csv", index=False)
    guess = truth + np.random.default_rng(1).normal(0, 3, N)
    pd.DataFrame({"id": IDS, "price": truth, "guess": guess, "fold": np.arange(N) % 5}).to_csv("a.csv", index=False)
    pd.DataFrame({"id": IDS, "price": np.round(guess)}).to_csv("b.csv", index=False)
    found = run.alone("a.csv", "b.csv", metric="rmse", options=["--spaces", "linear"])
    assert found == [round(float(np.sqrt(np.mean((one - truth) ** 2))), 4) for one in (guess, np.round(guess))]
