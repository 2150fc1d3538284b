from __future__ import annotations

from toy.a import Ensemble


def main() -> int:
    spec = Ensemble.model_validate({"name": "x", "members": [{"run": "a", "weight": 0.5}], "kind": "blend"})
    print(spec, spec.model_dump(), sorted(Ensemble.model_fields))
    try:
        Ensemble.model_validate({"name": "x", "members": [{"run": "", "weight": -1}], "kind": "no", "more": 1})
    except ValueError as error:
        print(len(str(error).split("\n")) > 4)
    return 0
