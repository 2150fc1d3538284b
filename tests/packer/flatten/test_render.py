"""The parts of a script: imports as ruff sorts them, the spec as a safe literal, a header that stays a comment."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from packing import pack_project, write_project

from packer.errors import PackError
from packer.flatten.header import HOW, Provenance, how_lines, read_contents, read_header, read_provenance, render_header
from packer.flatten.imports import render_imports
from packer.flatten.literal import render_literal
from packer.flatten.source import Import

LINE_LIMIT = 120
NAMES = st.sampled_from(
    ["", "", "a", "A", "Ab", "AB", "aB", "b2", "b10", "B2", "_x", "_X", "__y", "A_B", "Z9", "é", "x" * 40, "y" * 50]
)
MODULES = st.sampled_from(
    ["os", "os.path", "re", "json", "numpy", "torch.nn", "torch.nn.functional", "PIL", "cv2", "a_b", "ab", "a.b"]
    + ["lib2", "lib10", "Zed", "zed", "xml.etree.ElementTree", "importlib.metadata"]
)
ALIASES = st.sampled_from(["", "", "", "q", "Q", "q1"])
IMPORTS = st.builds(Import, MODULES, NAMES, ALIASES, st.just(0), st.just(1), st.just(""))


@pytest.mark.parametrize("seed", range(2))
def test_imports_are_sorted_as_ruff_sorts_them(seed: int, tmp_path: Path) -> None:
    """60 random import lists in one run of ruff."""
    examples: list[list[Import]] = []

    @settings(max_examples=60, database=None, derandomize=False)
    @given(st.lists(IMPORTS, min_size=1, max_size=14))
    def collect(imports: list[Import]) -> None:
        examples.append(imports)

    collect()
    for number, imports in enumerate(examples):
        lines = render_imports(imports)
        text = "from __future__ import annotations\n\n" + "\n".join(lines) + "\n\nSPEC: dict = {}\n"
        (tmp_path / f"e{number}.py").write_text(text)
        assert all(len(line) <= LINE_LIMIT for line in lines)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "--select=I,E4", "--no-cache"]
    done = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
SPECS = st.dictionaries(
    st.text(),
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=25),
)
HOSTILE = ['"', "'", '"""', "\\", "\\\"", "\n# x", "\r", "\u2028", "{x}", "]}", "\x00", "\\N{DASH}", "%s"]


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@example({"k" * 130: ""})
@example({"k" * 130: "v" * 200})
@given(SPECS | st.dictionaries(st.sampled_from(HOSTILE), st.lists(st.sampled_from(HOSTILE)).map("".join)))
def test_the_literal_is_the_spec_and_nothing_else(spec: dict[str, object]) -> None:
    text = render_literal(spec, "SPEC: dict = ")
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.AnnAssign) and node.value is not None
    assert repr(ast.literal_eval(node.value)) == repr(spec)
    assert text.isascii() and "\r" not in text


def test_the_literal_is_for_people() -> None:
    members = [{"run": "a", "folds": [0, 1]}]
    spec = {"name": "best", "weights": [0.1] * 30, "note": "a long note " * 12, "members": members}
    assert render_literal(spec, "SPEC: dict = ") == (
        "SPEC: dict = {\n"
        "    'name': 'best',\n"
        "    'weights': [\n"
        f"        {', '.join(['0.1'] * 22)},\n"
        f"        {', '.join(['0.1'] * 8)},\n"
        "    ],\n"
        "    'note': (\n"
        f"        '{'a long note ' * 9}'\n"
        f"        '{'a long note ' * 3}'\n"
        "    ),\n"
        "    'members': [{'run': 'a', 'folds': [0, 1]}],\n"
        "}"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"a": [1, {"b": float("nan")}]}, "SPEC.a[1].b: nan is not a finite number"),
        ({"a": (1,)}, "SPEC.a: a tuple cannot be written; use dict"),
        ({"a": {1: 2}}, "SPEC.a: key 1 is a int; keys are text"),
        ({"a": {"b": {1, 2}}}, "SPEC.a.b: a set cannot be written"),
        ({"a": "\ud800"}, "SPEC.a: text with half a surrogate pair (U+D800)"),
    ],
)
def test_refuses_what_is_no_plain_data(spec: dict[str, object], message: str) -> None:
    with pytest.raises(PackError) as caught:
        render_literal(spec, "SPEC: dict = ")
    assert message in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["name", "competition", "task", "metric"]), LEAVES))
def test_the_header_stays_a_comment(command: str, name: str, spec: dict[str, object]) -> None:
    members = [{"run": name, "weight": name, "views": [name], "folds": [1], "seconds_per_image": 0.5}]
    spec |= {"name": name, "stages": [{"members": members}]}
    made = Provenance("kernels/go.py", "toy", "src", command, "")
    lines = render_header(made, 3, "0" * 64, spec, [name], "")
    text = "\n".join(lines)
    assert all(line.startswith("#") for line in lines) and text.isascii() and text.isprintable() is ("\n" not in text)
    assert ast.parse(text).body == []
    again = read_provenance(text + "\n")
    assert render_header(again, 3, "0" * 64, spec, [name], "") == lines


def test_the_header_says_what_the_script_is() -> None:
    member = {"run": "net_288", "weight": 0.4, "views": ["identity", "hflip"], "folds": [{}, {}]}
    spec: dict[str, object] = {
        "name": "best", "competition": "imet", "budget": {"hours": 9.0},
        "metric": {"name": "f2", "oof": 0.64, "nested": 0.63, "nested_se": 0.004},
        "stages": [{"name": "read", "task": "classify", "members": [{**member, "seconds_per_image": 0.01}]}],
    }
    made = Provenance("kernels/kernel.py", "foldpack", "src", "./deploy_kernel.py ensembles/best.yml", "abc")
    assert render_header(made, 31, "f" * 64, spec, ["six 1.17.0 (MIT)"], "me/wheels: monai") == [
        "# best: one script, packed from 31 source files.",
        "#",
        "# Do not edit this file: edit the sources that its banners name, and pack again.",
        "#",
        "# Entry          kernels/kernel.py",
        "# Package        foldpack in src",
        "# Made by        ./deploy_kernel.py ensembles/best.yml",
        "# Source commit  abc",
        f"# Pack id        {'f' * 64}",
        "# Ensemble       best, imet",
        "# Expected OOF   f2 0.64 (nested 0.63 +- 0.004)",
        "# Budget         9.0 hours",
        "# Stage          read: classify",
        "# Member         net_288: weight 0.4, 2 folds, views identity hflip, 0.04 s an image in all",
        "# Carries        six 1.17.0 (MIT)",
        "# Wheels         me/wheels: monai",
    ]
    with pytest.raises(PackError, match="its header names no entry"):
        read_header("# hello\nx = 1\n")


HELLO = '''"""Say hello,
in two lines: \u00e9.

1. First this,
   at length.
2. Then that.
"""

from __future__ import annotations


def main() -> int:
    return 0
'''


def test_the_page_is_what_the_entry_says_of_itself_and_where_things_stand() -> None:
    lines = how_lines(ast.parse(HELLO), begins=True)
    said = ["#   Say hello, in two lines: \\xe9.", "#", "#   1. First this, at length.", "#   2. Then that."]
    assert lines[:8] == ["#", HOW, "#", *said, "#"]
    text = "\n".join(lines)
    assert "KEYS (none, or those of its sealed" in text and "What `begin` reaches comes first." in text
    assert "begin" not in "\n".join(how_lines(ast.parse(HELLO), begins=False))
    assert text.isascii() and max(map(len, lines)) <= LINE_LIMIT


def test_the_contents_name_every_banner_with_its_line(tmp_path: Path) -> None:
    entry = HELLO.replace("\n\n\ndef", "\n\nfrom toy.a import one\n\n\ndef").replace("return 0", "return one()")
    files = {"kernels/go.py": entry,
             "src/toy/a.py": "from __future__ import annotations\n\n\ndef one() -> int:\n    return 1\n"}
    text = pack_project(write_project(tmp_path, files)).text
    lines = text.split("\n")
    contents = dict((title, line) for line, title in read_contents(text))
    banners = {line.strip("#= "): number for number, line in enumerate(lines, 1) if line.startswith("# ========")}
    assert list(banners) == ["packer/bootstrap/tracebacks.py, added by the packer", "src/toy/a.py", "kernels/go.py"]
    assert banners.items() <= contents.items()
    assert lines[contents["imports"] - 1] == "from __future__ import annotations"
    assert lines[contents["the start"] - 1] == 'if __name__ == "__main__":'
    assert text.index("# How it works") < text.index("# Contents, by line") < text.index("from __future__")
    assert read_contents("x = 1\n") == []
