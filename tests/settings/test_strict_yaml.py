"""Strict YAML: what is refused, what the YAML 1.1 traps mean, and that writing and reading agree."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foldpack.settings.strict_yaml import YAML_MAX_BYTES, YamlError, dump_strict, load_strict

REFUSED = [
    ("duplicate key", "a: 1\nb: 2\na: 3\n", "x.yml:3: key 'a' is already set in line 1; keep one of the two"),
    ("duplicate, quoted", 'a: 1\n"a": 2\n', "x.yml:2: key 'a' is already set in line 1"),
    ("nested duplicate", "m:\n  - {a: 1, a: 2}\n", "x.yml:2: key 'a' is already set in line 2"),
    ("alias", "a: &x [1]\nb: *x\n", "x.yml:1: anchor &x is not allowed"),
    ("lone alias", "a: *x\n", "x.yml:1: alias *x is not allowed"),
    ("merge", "a:\n  <<: {b: 1}\n", "x.yml:2: the merge key << is not allowed"),
    ("nan", "a: .nan\n", "x.yml:1: .nan is not a finite number"),
    ("inf", "a: -.INF\n", "x.yml:1: -.INF is not a finite number"),
    ("overflow", "a: 1e999\n", "x.yml:1: 1e999 is too large for a float"),
    ("long number", "a: " + "9" * 101 + "\n", "x.yml:1: a number of 101 characters"),
    ("tag", "a: !!python/object:os.system {}\n", "x.yml:1: tag tag:yaml.org,2002:python/object:os.system is not"),
    ("harmless tag", "a: !!str 1\n", "is not allowed; write the value without it"),
    ("lone bang", "a: ! 1\n", "x.yml:1: tag ! is not allowed"),
    ("int key", "1: a\n", "x.yml:1: key 1 is not text; put it in quotes"),
    ("bool key", "a:\n  true: b\n", "x.yml:2: key true is not text"),
    ("null key", "~: b\n", "x.yml:1: key ~ is not text"),
    ("empty key", "? \n: b\n", "x.yml:1: key (nothing) is not text"),
    ("list key", "? [a]\n: b\n", "x.yml:1: a list or mapping cannot be a key"),
    ("deep", "[" * 33 + "]" * 33, "x.yml:1: nested deeper than 32 levels"),
    ("very deep", "[" * 200_000, "x.yml:1: nested deeper than 32 levels"),
    ("brackets in quotes", "a: '" + "[" * 50 + "'\nb: [", "broken YAML"),
    ("deep block", "\n".join(" " * n + "a:" for n in range(40)), "nested deeper than 32 levels"),
    ("large", "a: " + "x" * YAML_MAX_BYTES, "x.yml:1: 4194307 bytes; at most 4194304"),
    ("empty", "", "x.yml:1: the file is empty"),
    ("comment only", "# nothing\n", "x.yml:1: the file is empty"),
    ("null document", "---\n", "x.yml:1: the file is empty"),
    ("two documents", "a: 1\n---\nb: 2\n", "x.yml:2: a second document starts here"),
    ("unclosed", "a: [1, 2\n", "broken YAML"),
    ("template", "a: 1\nimage: {split}/{id}.jpg\n", '; text that begins with braces needs quotes, such as "{id}.jpg"'),
    ("template in a block", "train: {id: {id}.jpg}\n", "; text that begins with braces needs quotes, such as"),
    ("tab", "a:\n\t- b\n", "x.yml:2: broken YAML"),
    ("control character", "a: 1\nb: \x07\n", "x.yml:2: broken YAML: a character that YAML does not allow (U+0007)"),
    ("surrogate", "a: 1\nb: \ud800\n", "x.yml:2: half a surrogate pair"),
    ("escaped surrogate", 'a: "\\ud800"\n', "x.yml:1: broken YAML"),
    ("billion laughs", "a: &a [x]\nb: &b [*a,*a]\n", "anchor &a is not allowed"),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refuses_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_strict(text, "x.yml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("NO", "NO"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("True", "True"), ("true", True), ("false", False),
        ("1:30", "1:30"), ("2026-11-22", "2026-11-22"), ("007", "007"), ("0x1F", "0x1F"), ("0o17", "0o17"),
        ("1_000", "1_000"), ("nan", "nan"), ("inf", "inf"), ("null", None), ("~", None), ("Null", "Null"), ("=", "="),
        ("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0),
        ("-0.0", -0.0),
        ("1e", "1e"), ("1.2.3", "1.2.3"), ("'12'", "12"), ('"true"', "true"), ("'~'", "~"), ("9" * 100, int("9" * 100)),
    ],
)
def test_plain_scalars_mean_what_they_look_like(plain: str, value: object) -> None:
    loaded = load_strict(f"a: {plain}\n", "x.yml")
    assert loaded == {"a": value}
    assert isinstance(loaded, dict) and type(loaded["a"]) is type(value)


def test_reads_every_shape() -> None:
    text = "---\na: [1, {b: c}]\nd:\n- e\n-\n- |\n  two\n  lines\nf: {}\n..." + "\n"
    assert load_strict(text, "x.yml") == {"a": [1, {"b": "c"}], "d": ["e", None, "two\nlines\n"], "f": {}}
    assert load_strict("\ufeffa: 1\n", "x.yml") == {"a": 1}
    assert load_strict("word", "x.yml") == "word"


SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**50), 10**50) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["no", "1e5", "12", "0x1", "~", "", " a", "a ", "a: b", "- a", "#c", "12ab", "1e2", "a,b", "---"])
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


@given(DATA.filter(lambda data: data is not None))
def test_what_is_written_reads_back_equal(data: object) -> None:
    text = dump_strict(data)
    assert repr(load_strict(text, "x.yml")) == repr(data)
    assert dump_strict(load_strict(text, "x.yml")) == text


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), SCALARS, max_size=5))
def test_other_yaml_readers_read_the_same(data: dict[str, object]) -> None:
    assert repr(yaml.safe_load(dump_strict(data))) == repr(data)


WRITTEN: dict[str, object] = {
    "name": "best",
    "members": [{"run": "a", "weight": 0.4, "folds": [{"fold": 0, "sha256": "0123abcd" * 8}, {"sha256": "12"}]}],
    "lr": 1e-7,
    "order": [*range(100, 130)],
    "note": "a: b",
    "empty": {},
}
OLD_FORM = (
    "name: best\n"
    "members:\n"
    "  - run: a\n"
    "    weight: 0.4\n"
    "    folds:\n"
    f"      - {{fold: 0, sha256: {'0123abcd' * 8}}}\n"
    '      - {sha256: "12"}\n'
    "lr: 1.0e-07\n"
    "order:\n"
    "  [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120,\n"
    "   121, 122, 123, 124, 125, 126, 127, 128, 129]\n"
    'note: "a: b"\n'
    "empty: {}\n"
)


def test_what_earlier_versions_wrote_reads_the_same() -> None:
    assert load_strict(OLD_FORM, "x.yml") == WRITTEN == load_strict(dump_strict(WRITTEN), "x.yml")


def test_writes_for_people() -> None:
    assert dump_strict(WRITTEN) == (
        "name: best\n"
        "members:\n"
        "  - run: a\n"
        "    weight: 0.4\n"
        "    folds:\n"
        f"      - {{fold: 0, sha256: {'0123abcd' * 8}}}\n"
        "      - {sha256: '12'}\n"
        "lr: 1.0e-07\n"
        f"order: [{', '.join(map(str, range(100, 121)))},\n"
        "  121, 122, 123, 124, 125, 126, 127, 128, 129]\n"
        "note: 'a: b'\n"
        "empty: {}\n"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": {"b": [1, math.nan]}}, "top.a.b[1]: nan is not a finite number"),
        ({"a": (1, 2)}, "top.a: a tuple cannot be written"),
        ({1: 2}, "top: key 1 is a int; keys are text"),
        ({"a": "\ud800"}, "top.a: text with half a surrogate pair (U+D800)"),
        (None, "cannot be null"),
        ({"a": 10**200}, "top.a: a number of 201 digits; at most 100"),
    ],
)
def test_refuses_to_write(data: object, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        dump_strict(data)
    assert message in str(caught.value)
