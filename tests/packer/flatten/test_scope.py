"""Which names a statement looks up in its module, may look up there, names in quotes, and binds."""

from __future__ import annotations

import ast

import pytest

from packer.flatten.nodes import bound_names
from packer.flatten.scope import looked_up, quoted_names

CASES = [
    ("X = [x for x in Y]", "Y", "", "", "X"),
    ("X = [x for x in Y] + [x]", "Y x", "", "", "X"),
    ("X = {k: v for k, v in Y if k not in Z}", "Y Z", "", "", "X"),
    ("X = [last := y for y in Y]", "Y", "", "", "X last"),
    ("def f(a, *b, c=D, **e):\n    local = a + b\n    return local, c, e, G", "D G", "", "", "f"),
    ("def f(a: A) -> B:\n    x: C = a\n    return x", "A B C", "", "", "f"),
    ("def f():\n    def g():\n        nonlocal x\n        x = y\n    x = 1\n    return g", "y", "", "", "f"),
    ("def f():\n    global X\n    X = Y", "X Y", "", "", "f"),
    ("@deco(A)\nclass C(Base, metaclass=M):\n    x = x\n    def m(self):\n        return C, x",
     "deco A Base M x", "x", "", "C"),
    ("class C:\n    a = [i for i in range(N)]\n    b = a", "range N", "a", "", "C"),
    ("def f(x: 'Foo | None') -> 'list[Bar]':\n    return cast('Baz', x)", "cast", "", "Foo list Bar Baz", "f"),
    ("x: Literal['a'] = 1", "Literal", "", "", "x"),
    ("x: Annotated['Foo', 'not this'] = 1", "Annotated", "", "Foo", "x"),
    ("def f(x):\n    match x:\n        case {'a': one, **rest}:\n            return one, rest\n"
     "        case P(q=[*r]) as s:\n            return r, s", "P", "", "", "f"),
    ("try:\n    import a.b as c, d.e\nexcept E as error:\n    pass", "E", "", "", "c d error"),
    ("f = lambda a, b=D: a + b + G", "D G", "", "", "f"),
    ("TEXT = '''\nx = y\n'''", "", "", "", "TEXT"),
    ("def f():\n    return f()", "", "", "", "f"),
    ("\x0cdef f():\n    return y", "y", "", "", "f"),
]


@pytest.mark.parametrize(("text", "needed", "perhaps", "quoted", "bound"), CASES, ids=[case[0][:30] for case in CASES])
def test_names_of_a_statement(text: str, needed: str, perhaps: str, quoted: str, bound: str) -> None:
    [node] = ast.parse(text).body
    found = looked_up(node, text)
    assert found[0] == set(needed.split())
    assert found[1] - found[0] == set(perhaps.split()) - found[0]
    assert set(quoted_names(node)) == set(quoted.split())
    assert set(bound_names(node)) == set(bound.split())
