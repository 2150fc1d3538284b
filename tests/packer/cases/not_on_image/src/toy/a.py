from __future__ import annotations

import nowhere_to_be_found.deep
from helpers import thing


def f() -> object:
    import also_missing

    return nowhere_to_be_found, thing, also_missing
