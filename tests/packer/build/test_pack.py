"""A toy project packs, runs with its spec and keys, keeps its exit code, and tells the truth in its tracebacks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from packing import pack_project, run_script, write_project

from packer.errors import PackError
from packer.build.pack import inject_keys

SHAPES = '''"""Shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The side, in metres.
SIDE = 3


@dataclass(frozen=True)
class Circle:
    radius: float

    def area(self) -> float:
        return math.pi * self.radius**2


def unused() -> int:
    return SIDE


def boom(x: int) -> int:
    # This fails.
    return x // 0
'''
ENTRY = '''"""Go."""

from __future__ import annotations

from toy.room.shapes import Circle, boom


def main(spec: dict, keys: dict[str, str], argv: list[str] | None = None) -> int:
    print(Circle(2.0), spec["name"], sorted(keys))
    if spec["name"] == "leak":
        raise ValueError(f"bad key {keys['a']!r}")
    return boom(1) if spec["name"] == "boom" else spec["code"]
'''
KEY = "0123456789abcdef" * 4


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_project(tmp_path / "toy", {"src/toy/room/shapes.py": SHAPES, "kernels/go.py": ENTRY})


def test_runs_with_spec_and_keys_and_keeps_the_exit_code(toy: Path, tmp_path: Path) -> None:
    text = pack_project(toy, {"name": "x", "code": 7}).text
    script = tmp_path / "script.py"
    script.write_text(inject_keys(text, {"b": KEY, "a": "'\"\n\\"}))
    ran = run_script(script, tmp_path / "empty")
    assert (ran.code, ran.out, ran.err) == (7, "Circle(radius=2.0) x ['a', 'b']\n", "")
    assert list((tmp_path / "empty").iterdir()) == []


def test_leaves_out_what_nothing_names(toy: Path) -> None:
    text = pack_project(toy, {"name": "x", "code": 0}).text
    assert "unused" not in text and "SIDE" not in text and "The side" not in text
    assert "# This fails." in text and "import math" in text


def test_tracebacks_name_the_source(toy: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(pack_project(toy, {"name": "boom"}).text)
    ran = run_script(script, tmp_path / "empty")
    assert ran.code == 1
    assert "in boom  (src/toy/room/shapes.py:26)\n    return x // 0" in ran.err
    assert "in main  (kernels/go.py:12)" in ran.err


def test_a_key_in_a_message_is_not_shown(toy: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(inject_keys(pack_project(toy, {"name": "leak"}).text, {"a": KEY}))
    ran = run_script(script, tmp_path / "empty")
    assert "ValueError: bad key '[key]'" in ran.err
    assert KEY[:8] not in ran.err + ran.out


def test_keys_change_one_line_only(toy: Path) -> None:
    text = pack_project(toy, {"name": "x"}).text
    keyed = inject_keys(text, {"a": KEY})
    changed = [(old, new) for old, new in zip(text.split("\n"), keyed.split("\n"), strict=True) if old != new]
    assert changed == [("KEYS: dict[str, str] = {}", f"KEYS: dict[str, str] = {{'a': '{KEY}'}}")]
    with pytest.raises(PackError, match="already holds keys"):
        inject_keys(keyed, {"a": KEY})


def test_the_embedded_spec_equals_the_given_one(toy: Path) -> None:
    hostile = 'a"""b\n# \\'
    spec: dict[str, object] = {"name": hostile, "n": [1, 2.5, None, True, {"x": "\u2028é"}], "note": "word " * 90}
    text = pack_project(toy, spec).text
    node = next(node for node in ast.parse(text).body if isinstance(node, ast.AnnAssign))
    assert isinstance(node.target, ast.Name) and node.target.id == "SPEC" and node.value is not None
    assert ast.literal_eval(node.value) == spec
    assert text.isascii()
