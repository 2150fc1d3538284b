"""Run a script as Kaggle's kernel process would see the world: no network, no project on the path.

Started as `python -I sandbox.py BLOCKED SCRIPT [ARG ...]` in an empty folder; imports nothing of foldpack. BLOCKED is
a comma-separated list of packages that must not be importable.
"""

from __future__ import annotations

import runpy
import sys


class ImportBlocker:
    """A finder that says no to the project's own packages, installed or not."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises ImportError for a blocked package; leaves everything else to the other finders."""
        if name.partition(".")[0] in self.names:
            raise ImportError(f"the packed script must not import '{name}': it is not there on Kaggle")


def refuse_network(event: str, args: tuple) -> None:
    """Audit hook: every creation of a socket raises, whoever asks for it."""
    if event in ("socket.__new__", "socket.connect", "socket.getaddrinfo"):
        raise OSError(f"no network in the rehearsal ({event})")


def main() -> None:
    """Take the arguments apart, close the doors, run the script as __main__."""
    blocked, script = sys.argv[1].split(","), sys.argv[2]
    sys.argv = sys.argv[2:]
    sys.meta_path.insert(0, ImportBlocker(blocked))
    sys.addaudithook(refuse_network)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
