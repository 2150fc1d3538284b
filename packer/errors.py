"""What the packer says when it refuses: every broken rule at once, each with its place and its mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from foldpack.errors import FoldpackError


@dataclass(frozen=True, order=True)
class Violation:
    """One place that breaks a rule of packable code (docs/packing.md lists the rules; 0 is 'can be read at all')."""

    path: str  # as shown to people: src/foldpack/room/module.py
    line: int
    rule: int
    found: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: rule {self.rule}: {self.found}; {self.mend}"


class PackError(FoldpackError):
    """The pack was not made. `violations` is empty when no rule of the source is to blame."""

    def __init__(self, message: str, violations: Iterable[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)

    @classmethod
    def from_violations(cls, violations: Iterable[Violation]) -> PackError:
        """One error for all of them, sorted by place."""
        found = sorted(set(violations))
        if len(found) == 1:
            return cls(str(found[0]), found)
        lines = [f"{len(found)} places break the packing rules:", *(f"  {violation}" for violation in found)]
        return cls("\n".join(lines), found)
