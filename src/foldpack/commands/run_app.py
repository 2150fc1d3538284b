"""How every command ends: one line for what the user can mend, a traceback for what we must mend."""

from __future__ import annotations

import sys

import typer

from foldpack.errors import INTERRUPTED, FoldpackError


def run_app(app: typer.Typer, args: list[str] | None = None) -> int:
    """Run a typer application -> exit code.

    0, or the code of `typer.Exit`; the `exit_code` of a FoldpackError, else 2; 2 for wrong usage and for files that
    the system denies; 130 for Ctrl-C.
    """
    app.pretty_exceptions_enable = False  # its tracebacks print local variables, which may hold keys
    command = typer.main.get_command(app)
    try:
        result = command.main(args=args, prog_name=None, standalone_mode=False)
    except FoldpackError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return int(getattr(failure, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort):  # some versions of typer turn the first into the second
        result = INTERRUPTED
    except OSError as failure:
        if failure.filename is None:
            raise
        print(f"error: {failure.filename}: {failure.strerror}; check the path, its owner and the room on the disk",
              file=sys.stderr)
        return 2
    except Exception as failure:
        show = getattr(failure, "show", None)  # click's own errors: wrong usage
        if show is None:
            raise
        show()
        return int(getattr(failure, "exit_code", 2))
    if result == INTERRUPTED:  # and others into this code
        print("interrupted; finished parts are kept", file=sys.stderr)
    return result if isinstance(result, int) else 0
