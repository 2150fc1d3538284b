"""Hypothesis strategies for small random packages that keep the packing rules, with names that use each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

HEAD = "from __future__ import annotations\n"
OUTSIDE = [
    ("import math", "math.gcd({0}, 12)"),
    ("import os.path", "len(os.path.join('a', str({0})))"),
    ("from collections import Counter, OrderedDict", "Counter([{0}])[{0}] + len(OrderedDict(a={0}))"),
    ("from functools import reduce", "reduce(max, [{0}, 2])"),
    ("import string as strings", "len(strings.digits) + {0}"),
    ("from itertools import chain", "sum(chain([{0}], [1]))"),
]
FILLERS = ["", "\n", "# a comment\n", "\n\n# two\n# lines\n", "\n# ======== src/toy/m0.py ========\n"]


@dataclass
class RandomModule:
    """A module under construction: its text and what it offers, name -> kind."""

    name: str
    imports: set[str] = field(default_factory=set)
    body: list[str] = field(default_factory=list)
    offers: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return HEAD + "\n" + "\n".join(sorted(self.imports)) + "\n\n" + "".join(self.body)


@st.composite
def random_package(draw: st.DrawFn) -> dict[str, str]:
    """Files (path -> text) of a project `toy` with an entry that prints what it computes."""
    modules: list[RandomModule] = []
    for number in range(draw(st.integers(1, 5))):
        folder = draw(st.sampled_from(["", "one.", "one.two."]))
        module = RandomModule(f"toy.{folder}m{number}")
        for index in range(draw(st.integers(1, 6))):
            add_symbol(draw, module, modules, f"n{number}_{index}")
        modules.append(module)
    entry = RandomModule("entry")
    wanted = [draw_operand(draw, entry, modules, "2") for _ in range(draw(st.integers(1, 5)))]
    entry.body.append(f"\n\ndef main() -> int:\n    print({', '.join(wanted)})\n    return {draw(st.integers(0, 3))}\n")
    files = {"kernels/go.py": entry.text()}
    for module in modules:
        files[f"src/{module.name.replace('.', '/')}.py"] = module.text()
    return files


def draw_operand(draw: st.DrawFn, module: RandomModule, others: list[RandomModule], argument: str) -> str:
    """An integer expression: a number, something of another package, or something of this or an earlier module."""
    choices = [(owner, name, kind) for owner in [module, *others] for name, kind in owner.offers.items()]
    pick = draw(st.integers(0, 9))
    if pick < 2 or not choices:
        line, use = draw(st.sampled_from(OUTSIDE))
        module.imports.add(line)
        return use.format(argument)
    if pick < 3:
        return str(draw(st.integers(-5, 5)))
    owner, name, kind = draw(st.sampled_from(choices))
    if owner is not module:
        module.imports.add(f"from {owner.name} import {name}")
    return {"constant": name, "function": f"{name}({argument})", "class": f"{name}({argument}).total()"}[kind]


def add_symbol(draw: st.DrawFn, module: RandomModule, others: list[RandomModule], name: str) -> None:
    """Define one more name in the module."""
    kind = draw(st.sampled_from(["constant", "function", "class"]))
    spelled = {"constant": name.upper(), "function": f"f_{name}", "class": f"C{name}"}[kind]
    lines: list[str] = []
    if kind == "constant":
        known = {each: what for each, what in module.offers.items() if what == "constant"}
        value = draw(st.sampled_from([*known, str(draw(st.integers(0, 9)))]))
        lines.append(draw(st.sampled_from([f"{spelled} = {value} + 1", f"{spelled}: int = ({value}\n    * 3)",
                                           f"{spelled} = {value} \\\n    - 1"])))
    elif kind == "function":
        value = draw_operand(draw, module, others, "x")
        default = next((each for each, what in module.offers.items() if what == "constant"), "1")
        inner = draw(st.sampled_from([
            f"    return {value} + extra",
            f"    def inner(y: int = {value}) -> int:\n        return y * 2\n\n    return inner() + extra",
            f"    values = [{value} for x in range(2)]\n    # indented\n\n    return sum(values) + extra",
            f"    if (seen := {value}) > 3:\n        return seen\n    return extra  # after",
        ]))
        lines += [f"def {spelled}(x: int, extra: int = {default}) -> int:", '    """Doc."""', inner]
    else:
        base = next((each for each, what in module.offers.items() if what == "class" and draw(st.booleans())), "")
        value = draw_operand(draw, module, others, "self.x")
        if not base:
            init = ["    def __init__(self, x: int) -> None:", "        self.x = x", ""]
        else:
            init = []
        lines += [f"class {spelled}{f'({base})' if base else ''}:", *init, f"    def total(self: {spelled}) -> int:"]
        lines += [f"        return {value}" + (" + super().total()" if base else "")]
    above = draw(st.sampled_from(FILLERS))
    module.body.append(("" if kind == "constant" else "\n\n") + above + "\n".join(lines) + "\n")
    module.offers[spelled] = kind
