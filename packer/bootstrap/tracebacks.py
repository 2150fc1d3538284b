"""True tracebacks: a frame of this script also names the source line that it was packed from, and no key is ever shown.

This module is packed into every script. It changes how Python's `traceback` module writes, so that uncaught errors,
threads, worker processes (fork or spawn), pools and logging all say the same.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import re
import sys
import threading
import traceback

PackedLines = dict[str, list[tuple[int, int, int]]]  # source path -> (line here, line there, number of lines)
PackedFormat = collections.abc.Callable[..., collections.abc.Iterator[str]]

PACKED_FRAME = re.compile(r'(?m)^([ |]*File "([^"\n]*)", line ([0-9]+), in .*)$')
PACKED_MARK = 8  # so many characters of a key in a row are not shown
PACKED_HIDDEN = "[key]"


class PackedTracebacks:
    """Adds source places to the text of a traceback and takes keys out of it."""

    def __init__(self, script: str, lines: PackedLines, keys: dict[str, str]) -> None:
        self.script = script
        self.lines = lines
        self.keys = keys
        self.whole: list[str] = []
        self.marks: set[str] = set()

    def source_of(self, line: int) -> str:
        """`path:line` of the source that a line of the script came from, "" for the packer's own lines."""
        for path, runs in self.lines.items():
            for here, there, count in runs:
                if here <= line < here + count:
                    return f"{path}:{there + line - here}"
        return ""

    def add_sources(self, text: str) -> str:
        """The text of a traceback with the source beside each of the script's frames."""
        def with_source(match: re.Match[str]) -> str:
            """One frame's line, with its source."""
            source = self.source_of(int(match[3])) if match[2] == self.script else ""
            return f"{match[1]}  ({source})" if source else match[1]

        return PACKED_FRAME.sub(with_source, text)

    def collect_marks(self) -> None:
        """Every way in which a key may turn up in a message, cut into marks; short keys as a whole."""
        for key in self.keys.values():
            for form in packed_key_forms(key):
                self.whole.append(form)
                self.marks.update(form[at : at + PACKED_MARK] for at in range(len(form) - PACKED_MARK + 1))
        self.whole.sort(key=len, reverse=True)

    def hide_keys(self, text: str) -> str:
        """The text without keys, also where a message shows only a part of one."""
        if self.keys and not self.whole:
            self.collect_marks()
        for form in self.whole:
            text = text.replace(form, PACKED_HIDDEN)
        hits = [at for at in range(len(text) - PACKED_MARK + 1) if text[at : at + PACKED_MARK] in self.marks]
        shown: list[str] = []
        done = 0
        for at in hits:
            if at > done:
                shown.append(text[done:at])
            if at >= done:
                shown.append(PACKED_HIDDEN)
            done = at + PACKED_MARK
        return "".join([*shown, text[done:]]) if hits else text


def packed_key_forms(key: str) -> set[str]:
    """The key as text, and its bytes (UTF-8, or decoded from hex or base64) in hex, base64 and as Python shows them."""
    raws = {key.encode("utf-8", "surrogatepass")}
    for decode in (bytes.fromhex, base64.urlsafe_b64decode, base64.b64decode):
        try:
            raws.add(decode(key))
        except (ValueError, binascii.Error):
            continue
    forms = {key, repr(key)[1:-1], ascii(key)[1:-1]}
    for raw in raws:
        forms |= {raw.hex(), raw.hex().upper(), raw.hex(" "), raw.hex("-"), raw.hex(":"), repr(raw)[2:-1]}
        for part in (raw, raw[1:], raw[2:]):  # wherever a slice of the key may begin
            forms |= {encode(part).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {form for form in forms if len(form) >= min(PACKED_MARK, len(key)) and form}


def install_true_tracebacks(lines: PackedLines, keys: dict[str, str]) -> None:
    """Make every traceback that this process writes name the sources of the script's frames and hide the keys."""
    told = PackedTracebacks(install_true_tracebacks.__code__.co_filename, lines, keys)
    stack_format = traceback.StackSummary.format

    def format_stack(self: traceback.StackSummary, **options: object) -> list[str]:
        """In place of `StackSummary.format`: its chunks with sources and without keys."""
        options.pop("colorize", None)
        return [told.hide_keys(told.add_sources(chunk)) for chunk in stack_format(self)]

    traceback.StackSummary.format = format_stack  # type: ignore[method-assign]
    for name in ("format", "format_exception_only"):
        original = getattr(traceback.TracebackException, name)
        setattr(traceback.TracebackException, name, packed_quiet(told, original))
    sys.excepthook = packed_excepthook
    sys.unraisablehook = packed_unraisable
    threading.excepthook = packed_thread_error


def packed_quiet(told: PackedTracebacks, original: PackedFormat) -> PackedFormat:
    """A formatting method of `traceback` whose text shows no key and no colour."""

    def quiet(self: traceback.TracebackException, **options: object) -> collections.abc.Iterator[str]:
        """In place of the method: its chunks without keys."""
        options.pop("colorize", None)
        for chunk in original(self, **options):
            yield told.hide_keys(chunk)

    return quiet


def packed_excepthook(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """In place of `sys.excepthook`, which writes its tracebacks without the `traceback` module."""
    traceback.print_exception(error)


def packed_thread_error(failed: threading.ExceptHookArgs) -> None:
    """In place of `threading.excepthook`. SystemExit only ends its thread, as it does without us."""
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        print(f"Exception in thread {failed.thread.name if failed.thread else '?'}:", file=sys.stderr)
        traceback.print_exception(failed.exc_value)


def packed_unraisable(failed: sys.UnraisableHookArgs) -> None:
    """In place of `sys.unraisablehook`: errors that nobody can catch, such as in `__del__`."""
    if failed.exc_value is not None:
        print(f"Exception ignored: {failed.err_msg or ''}", file=sys.stderr)
        traceback.print_exception(failed.exc_value)
