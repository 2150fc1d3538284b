from __future__ import annotations

import collections.abc
import os
import os.path
from json import dumps, loads
from os.path import join as join_path

from toy.a import show
from toy.b import number10_zeta, number2_alpha


def main() -> int:
    print(os.path.basename("a/b"), join_path("a", "b"), show({"b": 1}), loads(dumps([1])))
    print(isinstance([], collections.abc.Sized), number2_alpha(), number10_zeta())
    return 0
